"""Which schedules of the registry hold for a request, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import NamedTuple

from pacer.control.budget_request import BudgetRequest
from pacer.control.choice import Choice, from_entry
from pacer.control.evaluations import forwards, rows_of
from pacer.control.limits import Limits
from pacer.control.nearest import nearest
from pacer.control.networks import lacking
from schedules.artefact import Entry, Schedule
from schedules.evidence import Evidence
from schedules.registry import Registry

_NEAR = 2
"""Up to how many times the most steps that were searched, and down to which part of the least, their curve serves."""


@dataclass(frozen=True, eq=False)
class Offer:
    """An entry that holds for a request.

    Attributes:
        schedule: its artefact.
        entry: of one of the artefact's budgets.
        turns: rows of its table.
        evaluations: forwards of the network for one image.
        evidence: what was measured of it at the request's guidance scale; None where nobody did.
    """

    schedule: Schedule
    entry: Entry
    turns: int
    evaluations: int
    evidence: Evidence | None

    @property
    def steps(self) -> int:
        """Its budget."""
        return self.entry.steps

    @property
    def is_ranked(self) -> bool:
        """Whether its place among the offers was measured, if only at another guidance scale."""
        return self.entry.evidence is not None

    @cached_property
    def choice(self) -> Choice:
        """What would be run."""
        return replace(from_entry(self.schedule, self.entry), evidence=self.evidence)

    def within(self, limits: Limits) -> bool:
        """Whether it keeps to every upper bound and is long enough."""
        return limits.affords(self.entry.steps, self.turns, self.evaluations)


def offers(request: BudgetRequest, registry: Registry) -> tuple[Offer, ...]:
    """All entries of the solver wanted, for these weights, this guidance and this size: in the registry's order."""
    card = request.card
    if request.true_cfg_scale != 1:  # nothing was searched with it
        return ()
    wanted = _Wanted(
        card.id, card.weights_sha256, card.quantization, card.dtype, tuple(card.networks.items()),
        card.embedded_guidance, bool(request.lora), request.solver, request.guidance_scale,
        request.width, request.height,
    )  # fmt: skip
    return _offers(registry, wanted)


@lru_cache(maxsize=512)
def cheapest_first(known: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """Offers by their evaluations, those that cost the same in the registry's order."""
    return tuple(sorted(known, key=attrgetter("evaluations")))


class _Wanted(NamedTuple):
    """What of a request decides which entries hold for it."""

    model: str
    weights: str | None
    quantization: str | None
    dtype: str | None
    networks: tuple[tuple[str, str | None], ...]
    embedded: bool
    adapted: bool
    solver: str | None
    scale: float
    width: int
    height: int


@lru_cache(maxsize=512)
def _offers(registry: Registry, wanted: _Wanted) -> tuple[Offer, ...]:
    scale, networks = wanted.scale, dict(wanted.networks)
    return tuple(
        _offer(schedule, entry, scale, embedded=wanted.embedded)
        for schedule, entry in registry.ranked(wanted.model, guidance_scale=scale, embedded=wanted.embedded)
        if wanted.solver in (None, schedule.solver)
        and same_weights(schedule, wanted.weights, wanted.quantization, wanted.dtype)
        and not lacking(schedule, networks)
        and not (wanted.adapted and schedule.networks)  # a LoRA fits the model's own network alone
        and schedule.valid_for.covers(width=wanted.width, height=wanted.height, guidance_scale=scale)
    )


def _offer(schedule: Schedule, entry: Entry, scale: float, *, embedded: bool) -> Offer:
    turns, evaluations = _cost(schedule, entry, 1.0 if embedded else scale)
    return Offer(schedule, entry, turns, evaluations, schedule.evidence_at(entry.evidence, scale))


def best_choice(request: BudgetRequest, limits: Limits, steps: int, registry: Registry) -> Choice | None:
    """The registry's best entry of this many steps that holds for the request, if there is one.

    A solver that takes two evaluations for a step, such as Heun's, spends twice the budget: it must be asked for.
    """
    for offer in offers(request, registry):
        asked_for = request.solver is not None or offer.turns <= steps
        if offer.steps == steps and asked_for and offer.within(limits):
            return offer.choice
    return None


def nearest_choice(request: BudgetRequest, limits: Limits, steps: int, registry: Registry) -> Choice | None:
    """What comes nearest to a schedule for this budget among those for these very weights, if anything does.

    One made from those of neighbouring budgets, where they hold for this guidance and size and are not far; where the
    caller allows it one beyond all that, also of a solver that takes two evaluations for a step.
    """
    known = [
        schedule
        for schedule in registry.schedules(request.card.id)
        if request.solver in (None, schedule.solver)
        and same_weights(schedule, request.card.weights_sha256, request.card.quantization, request.card.dtype)
        and not schedule.networks
        and (request.allow_interpolated or (covers(schedule, request) and _is_near(schedule, steps)))
    ]
    anything = request.solver is not None or request.allow_interpolated

    def fits(schedule: Schedule, entry: Entry) -> bool:
        turns, evaluations = _cost(schedule, entry, request.branch_scale)
        return (anything or turns <= entry.steps) and limits.affords(entry.steps, turns, evaluations)

    found = nearest(known, steps, covers=lambda schedule: covers(schedule, request), fits=fits)
    return None if found is None else replace(from_entry(*found), evidence=None, interpolated=True)


def _is_near(schedule: Schedule, steps: int) -> bool:
    """Whether a budget lies between searched ones, or not far beyond the ends of them."""
    known = [entry.steps for entry in schedule.entries]
    return min(known) <= _NEAR * steps and steps <= _NEAR * max(known)


def _cost(schedule: Schedule, entry: Entry, guidance_scale: float) -> tuple[int, int]:
    """Table rows and forwards of the network of one image with an entry."""
    if entry.table is None:
        turns = rows_of(schedule.solver, entry.steps)
        return turns, turns * forwards(guidance_scale)
    return len(entry.table.t), schedule.network_evaluations(entry, guidance_scale)


def covers(schedule: Schedule, request: BudgetRequest) -> bool:
    """Whether the schedule was shown to hold at this size and guidance."""
    valid, scale = schedule.valid_for, request.guidance_scale
    return request.true_cfg_scale == 1 and valid.covers(
        width=request.width, height=request.height, guidance_scale=scale
    )


def same_weights(schedule: Schedule, weights: str | None, quantization: str | None, dtype: str | None) -> bool:
    """Whether the schedule is for the weights of this hash, quantised so, computed with in this dtype.

    A card without a hash vouches for any, and one without a dtype leaves that to the device.
    """
    known = weights in (None, schedule.weights_sha256) and dtype in (None, schedule.dtype)
    return known and quantization == schedule.quantization


def where_it_holds(schedule: Schedule) -> str:
    """The sizes and guidance scales of a schedule, in words."""
    valid = schedule.valid_for
    (w0, w1), (h0, h1), (g0, g1) = valid.width, valid.height, valid.guidance_scale
    return f"width {w0} to {w1}, height {h0} to {h1}, guidance_scale {g0:g} to {g1:g}"
