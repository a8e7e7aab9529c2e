"""From what a caller can spend to what will be run: which schedule, how many evaluations, what to expect for it.

Pure functions over numbers: the registry and the measured speed come in, a plan and its table go out.
"""

from __future__ import annotations

from pacer.control.budget_request import BudgetRequest, check_guidance, check_steps, invalid
from pacer.control.by_evaluations import by_evaluations
from pacer.control.by_id import by_id
from pacer.control.choice import Choice, from_grid, from_sigmas
from pacer.control.evaluations import check_evaluations, check_spent
from pacer.control.held import best_choice, nearest_choice
from pacer.control.turns import TurnCost
from pacer.jobs.messages import Plan, WorkerSpeed
from pacer.models import ModelCard
from schedules.registry import Registry
from schedules.table import Table


def plan(
    request: BudgetRequest,
    registry: Registry,
    speed: WorkerSpeed | None,
    *,
    default_steps: int = 10,
    max_steps: int = 100,
) -> tuple[Plan, Table]:
    """Decide what to run for a request.

    Args:
        request: what the caller can spend.
        registry: the schedules at hand.
        speed: what workers measured, in seconds; None before they have.
        default_steps: the budget of a request that names none; a distilled model has its own.
        max_steps: the largest budget allowed.

    Raises:
        PacerError: invalid_request, schedule_not_found or schedule_mismatch, naming the field and what is allowed.
    """
    check_guidance(request.guidance_scale, request.card)
    check_steps(request.steps, max_steps, field="steps")
    check_evaluations(request.evaluations)
    choice = _choose(request, registry, default_steps, max_steps)
    evaluations = choice.table.network_evaluations(request.branch_scale)
    what = f"{len(choice.sigmas) - 1} steps of schedule {choice.name!r} under solver {choice.solver!r}"
    check_spent(evaluations, request.evaluations, what=what, guidance_scale=request.branch_scale)
    made = Plan(
        model=request.card.id,
        schedule=choice.name,
        solver=choice.solver,
        steps=len(choice.sigmas) - 1,
        evaluations=evaluations,
        sigmas=choice.sigmas,
        predicted_seconds=None
        if speed is None
        else predict_seconds(choice.table.evaluations_count, evaluations, speed),
        predicted_quality_db=choice.quality,
        other_model=choice.other_model,
        interpolated=choice.interpolated,
    )
    return made, choice.table


def predict_seconds(turns: int, rows: int, speed: WorkerSpeed) -> float:
    """Service seconds of one image that waits for nobody: so many network calls with so many rows together."""
    denoise = TurnCost(speed.turn_seconds, speed.row_seconds).seconds(turns, rows)
    return speed.encode_seconds + denoise + speed.decode_seconds


def _choose(request: BudgetRequest, registry: Registry, default_steps: int, max_steps: int) -> Choice:
    if request.sigmas is not None:
        return from_sigmas(request, request.sigmas, max_steps)
    if request.schedule is not None and "/" in request.schedule:
        return by_id(request, request.schedule, registry, max_steps)
    if request.evaluations is not None and request.steps is None:
        return by_evaluations(request, request.evaluations, registry, max_steps)
    steps = request.steps or _default(request.card, default_steps, max_steps)
    if request.schedule is not None:
        return from_grid(request, request.schedule, steps)
    if request.card.distilled:
        return from_grid(request, request.card.grid, steps)
    best = best_choice(request, steps, registry)
    if best is None and request.allow_interpolated:
        best = nearest_choice(request, steps, registry)
    return best or from_grid(request, request.card.grid, steps)


def _default(card: ModelCard, default_steps: int, max_steps: int) -> int:
    """The budget of a request that names none; a card's own may be more than is allowed here."""
    steps = card.default_steps(default_steps)
    if steps > max_steps:
        raise invalid("steps", f"the default of {card.id} is {steps}; name a budget, in 1 to {max_steps}")
    return steps
