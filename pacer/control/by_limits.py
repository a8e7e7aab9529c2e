"""The best that a budget's bounds allow, whatever its steps; the cheapest that reaches a floor of quality."""

from __future__ import annotations

from dataclasses import replace

from pacer.control.budget_request import BudgetRequest, grid_solver
from pacer.control.choice import Choice, from_entry, from_grid
from pacer.control.evaluations import forwards, rows_of
from pacer.control.held import cost_of, nearest_choice, suits
from pacer.control.limits import Limits
from pacer.control.refusals import beyond_reach, nothing_fits, too_dear
from schedules.compile import SOLVERS
from schedules.registry import Candidate, Registry


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
    ranked = registry.ranked(card.id, guidance_scale=request.guidance_scale, embedded=card.embedded_guidance)
    if limits.floored:
        return _cheapest(request, limits, ranked)
    suiting = [each for each in ranked if suits(request, limits, *each)]
    if suiting and suiting[0][1].evidence is not None:
        return from_entry(*suiting[0])
    # Of entries that nobody measured, the one with most steps, unless the grid has more for the same.
    longest = max(suiting, key=lambda each: each[1].steps, default=None)
    steps, has_grids = _grid_steps(request, limits), request.solver in (None, *SOLVERS)
    if longest is not None and (longest[1].steps >= steps or not has_grids):
        return from_entry(*longest)
    near = nearest_choice(request, limits, max(1, steps), registry) if request.allow_interpolated else None
    if near is None and not has_grids:
        _check_reachable(request, limits, ranked)
    return near or from_grid(request, card.grid, longest_grid(request, limits))


def _cheapest(request: BudgetRequest, limits: Limits, ranked: tuple[Candidate, ...]) -> Choice:
    """Of the entries that reach the floor the one with the fewest evaluations, of equal ones the best."""
    anything = Limits(steps=(1, max((entry.steps for _, entry in ranked), default=1)))
    held = [each for each in ranked if suits(request, anything, *each)]
    reaching = [each for each in held if limits.reached_by(each[1].evidence)]
    if not reaching:
        raise beyond_reach(limits, [entry for _, entry in held])
    priced = [(cost_of(schedule, entry, request.branch_scale), schedule, entry) for schedule, entry in reaching]
    cheapest = sorted(priced, key=lambda each: each[0][1])
    for _, schedule, entry in cheapest:
        if suits(request, limits, schedule, entry):
            return from_entry(schedule, entry)
    (turns, evaluations), _, entry = cheapest[0]
    raise too_dear(limits, entry.steps, turns, evaluations)


def _check_reachable(request: BudgetRequest, limits: Limits, ranked: tuple[Candidate, ...]) -> None:
    """Refuse less than any schedule takes of a solver that has nothing but searched ones."""
    free = Limits(steps=limits.steps)
    costs = [
        cost_of(schedule, entry, request.branch_scale)
        for schedule, entry in ranked
        if suits(request, free, schedule, entry)
    ]
    if costs:
        turns, evaluations = min(costs, key=lambda cost: cost[1])
        what = f"a schedule of solver {request.solver!r}"
        raise nothing_fits(limits, what, turns, evaluations, guidance_scale=request.branch_scale)


def _grid_steps(request: BudgetRequest, limits: Limits) -> int:
    """The most steps of a grid within the bounds, 0 where there are none.

    Under the model's own solver where the one wanted has no grids.
    """
    wanted = request.solver
    solver = request.card.solver if wanted is None or wanted not in SOLVERS else wanted
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
        raise nothing_fits(limits, what, turns, evaluations, guidance_scale=request.branch_scale)
    return steps
