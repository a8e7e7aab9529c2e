"""Which schedules of the registry hold for a request, and the best of them."""

from __future__ import annotations

from dataclasses import replace

from pacer.control.budget_request import BudgetRequest
from pacer.control.choice import Choice, from_entry
from pacer.control.evaluations import forwards, rows_of
from pacer.control.limits import Limits
from pacer.control.nearest import nearest
from pacer.models import ModelCard
from schedules.artefact import Entry, Schedule
from schedules.registry import Registry


def best_choice(request: BudgetRequest, limits: Limits, steps: int, registry: Registry) -> Choice | None:
    """The registry's best entry of this many steps that holds for the request, if there is one.

    A solver that takes two evaluations for a step, such as Heun's, spends twice the budget: it must be asked for.
    """
    card = request.card
    for schedule, entry in registry.candidates(
        card.id, steps, guidance_scale=request.guidance_scale, embedded=card.embedded_guidance
    ):
        if suits(request, limits, schedule, entry):
            choice = from_entry(schedule, entry)
            if request.solver is not None or choice.table.evaluations_count <= steps:
                return choice
    return None


def nearest_choice(request: BudgetRequest, limits: Limits, steps: int, registry: Registry) -> Choice | None:
    """What comes nearest to a schedule for this budget, guidance and size among those for these very weights."""
    known = [
        schedule
        for schedule in registry.schedules(request.card.id)
        if request.solver in (None, schedule.solver) and same_weights(schedule, request.card)
    ]
    found = nearest(
        known,
        steps,
        covers=lambda schedule: covers(schedule, request),
        fits=lambda schedule, entry: _affords(request, limits, schedule, entry),
    )
    return None if found is None else replace(from_entry(*found), evidence=None, interpolated=True)


def suits(request: BudgetRequest, limits: Limits, schedule: Schedule, entry: Entry) -> bool:
    """Whether an entry is of the solver wanted, holds for the request and is within its bounds."""
    wanted = request.solver in (None, schedule.solver) and _affords(request, limits, schedule, entry)
    return wanted and same_weights(schedule, request.card) and covers(schedule, request)


def cost_of(schedule: Schedule, entry: Entry, guidance_scale: float) -> tuple[int, int]:
    """Table rows and forwards of the network of one image with an entry."""
    if entry.table is None:
        turns = rows_of(schedule.solver, entry.steps)
        return turns, turns * forwards(guidance_scale)
    return len(entry.table.t), entry.table.network_evaluations(guidance_scale)


def _affords(request: BudgetRequest, limits: Limits, schedule: Schedule, entry: Entry) -> bool:
    return limits.affords(entry.steps, *cost_of(schedule, entry, request.branch_scale))


def covers(schedule: Schedule, request: BudgetRequest) -> bool:
    """Whether the schedule was shown to hold at this size and guidance."""
    return schedule.valid_for.covers(width=request.width, height=request.height, guidance_scale=request.guidance_scale)


def same_weights(schedule: Schedule, card: ModelCard) -> bool:
    """Whether the schedule is for these very weights; a card without their hash vouches for any."""
    return card.weights_sha256 in (None, schedule.weights_sha256)


def where_it_holds(schedule: Schedule) -> str:
    """The sizes and guidance scales of a schedule, in words."""
    valid = schedule.valid_for
    (w0, w1), (h0, h1), (g0, g1) = valid.width, valid.height, valid.guidance_scale
    return f"width {w0} to {w1}, height {h0} to {h1}, guidance_scale {g0:g} to {g1:g}"
