"""The best that a budget's bounds allow, whatever its steps; the cheapest that reaches a floor of quality."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import inf
from operator import attrgetter

from pacer.control.budget_request import BudgetRequest, grid_solver
from pacer.control.by_prompt import Expected, Need, need_of
from pacer.control.choice import Choice, from_grid
from pacer.control.evaluations import forwards, rows_of
from pacer.control.held import Offer, cheapest_first, nearest_choice, offers
from pacer.control.limits import Limits
from pacer.control.refusals import beyond_reach, nothing_fits, too_dear
from pacer.errors import PacerError
from schedules.compile import SAMPLERS
from schedules.registry import Registry


def by_limits(request: BudgetRequest, limits: Limits, registry: Registry) -> Choice:
    """The best that the bounds allow, by what was measured; with a floor, the cheapest that was shown to reach it.

    Raises:
        PacerError: invalid_request with the numbers that contradict; deadline_unreachable where only the wait is in
            the way.
    """
    card = request.card
    if request.schedule is not None:
        return from_grid(request, request.schedule, longest_grid(request, limits))
    if card.distilled:
        least, most = limits.steps
        native = max(least, min(most, card.distilled.native_steps))
        return from_grid(request, card.grid, longest_grid(request, replace(limits, steps=(least, native))))
    known = offers(request, registry)
    if limits.floored:
        return _cheapest(limits, known, Expected(request.prompt))
    best = next((offer for offer in known if offer.within(limits)), None)
    if best is not None and best.is_ranked:
        return best.choice
    # Of entries that nobody measured, the one with most steps, unless the grid has more for the same.
    longest = max((offer for offer in known if offer.within(limits)), key=lambda offer: offer.steps, default=None)
    steps, has_grids = _grid_steps(request, limits), request.solver in (None, *SAMPLERS)
    if longest is not None and (longest.steps >= steps or not has_grids):
        return longest.choice
    near = nearest_choice(request, limits, max(1, steps), registry)
    if near is None and (steps < 1 or not has_grids):
        _check_reachable(request, limits, known)
    return near or from_grid(request, card.grid, longest_grid(request, limits))


def _cheapest(limits: Limits, known: tuple[Offer, ...], expected: Expected) -> Choice:
    """Of the entries that reach the floor the one with the fewest evaluations, of equal ones the best."""
    limits = replace(limits, degrade_at=1.0)  # there is nothing to degrade to
    for need in _needs(known, limits.psnr_db, limits.quality, limits.kept_by):
        if expected.keeps(need) and need.offer.within(limits):
            return expected.choice(need.offer)
    raise _floor_refusal(limits, known, expected)


@lru_cache(maxsize=512)
def _needs(known: tuple[Offer, ...], psnr_db: float | None, quality: float | None, kept_by: float) -> tuple[Need, ...]:
    """What must be told of each offer, the cheapest first, without those that miss the floors whatever is told.

    Floors are mostly round numbers, so that this is reckoned once.
    """
    floors = Limits(steps=(1, 1), psnr_db=psnr_db, quality=quality, kept_by=kept_by)
    needs = (need_of(offer, floors) for offer in cheapest_first(known))
    return tuple(need for need in needs if need.anyway or need.column is not None)


def _floor_refusal(limits: Limits, known: tuple[Offer, ...], expected: Expected) -> PacerError:
    """Why no entry within the bounds reaches the floor: none reaches it at all, or those that do are too dear."""
    if not any(expected.reached(offer, limits) for offer in known):
        measured = [(expected.choice(offer).evidence, offer.steps) for offer in known]
        failing = limits.failing(lambda floor: any(expected.reached(offer, floor) for offer in known))
        return beyond_reach(failing, measured, elsewhere=_measured_scales(known))
    allowed = [offer for offer in known if offer.within(limits)]
    failing = limits.failing(lambda floor: any(expected.reached(offer, floor) for offer in allowed))
    keeping = (offer for offer in known if expected.reached(offer, failing))
    least = min(keeping, key=attrgetter("evaluations"))
    return too_dear(failing, least.steps, least.turns, least.evaluations)


def _measured_scales(known: tuple[Offer, ...]) -> list[float]:
    """Guidance scales other than the request's at which offers were measured, rising."""
    unknown = (offer.schedule for offer in known if offer.is_ranked and offer.evidence is None)
    return sorted({each.measured_scale for each in unknown if each.measured_scale is not None})


def _check_reachable(request: BudgetRequest, limits: Limits, known: tuple[Offer, ...]) -> None:
    """Refuse less than any searched schedule takes, where no grid takes less."""
    free = Limits(steps=limits.steps)
    least = min((offer for offer in known if offer.within(free)), key=lambda offer: offer.evaluations, default=None)
    if least is not None and least.evaluations <= _least_grid(request, limits):
        searched = f"schedule {least.schedule.entry_id(least.steps)!r}"
        what = searched if request.solver is None else f"a schedule of solver {request.solver!r}"
        raise nothing_fits(
            limits, what, least.turns, least.evaluations, scale=request.branch_scale, field=request.branch_field
        )


def _least_grid(request: BudgetRequest, limits: Limits) -> float:
    """Forwards of the shortest grid that is long enough; inf where the solver wanted has none."""
    solver = request.card.solver if request.solver is None else request.solver
    return rows_of(solver, limits.steps[0]) * forwards(request.branch_scale) if solver in SAMPLERS else inf


def _grid_steps(request: BudgetRequest, limits: Limits) -> int:
    """The most steps of a grid within the bounds, 0 where there are none.

    Under the model's own solver where the one wanted has no grids.
    """
    wanted = request.solver
    solver = request.card.solver if wanted is None or wanted not in SAMPLERS else wanted
    each, (least, most) = forwards(request.branch_scale), limits.steps
    rows = ((steps, rows_of(solver, steps)) for steps in range(most, least - 1, -1))
    return next((steps for steps, turns in rows if limits.affords(steps, turns, turns * each)), 0)


def longest_grid(request: BudgetRequest, limits: Limits) -> int:
    """The most steps of a grid within the bounds, one at the least."""
    solver = grid_solver(request)
    steps = _grid_steps(request, limits)
    if steps < 1:
        least = limits.steps[0]
        turns = rows_of(solver, least)
        what = f"{least} step{'s' if least > 1 else ''} of solver {solver!r}"
        evaluations = turns * forwards(request.branch_scale)
        raise nothing_fits(limits, what, turns, evaluations, scale=request.branch_scale, field=request.branch_field)
    return steps
