"""The best that a number of network evaluations buys, whatever its steps."""

from __future__ import annotations

from dataclasses import replace

from pacer.control.budget_request import BudgetRequest, grid_solver
from pacer.control.choice import Choice, from_entry, from_grid
from pacer.control.evaluations import most_steps, refused, too_few
from pacer.control.held import nearest_choice, suits
from schedules.compile import SOLVERS
from schedules.registry import Registry


def by_evaluations(request: BudgetRequest, evaluations: int, registry: Registry, max_steps: int) -> Choice:
    """The best that a number of network evaluations buys, whatever its steps."""
    card = request.card
    if request.schedule is not None:
        return from_grid(request, request.schedule, _affordable(request, evaluations, max_steps))
    if card.distilled:
        native = min(max_steps, card.distilled.native_steps)
        return from_grid(request, card.grid, _affordable(request, evaluations, native))
    ranked = registry.ranked(card.id, guidance_scale=request.guidance_scale, embedded=card.embedded_guidance)
    suiting = (each for each in ranked if each[1].steps <= max_steps and suits(request, *each))
    first = next(suiting, None)
    if first is not None and first[1].evidence is not None:
        return from_entry(*first)
    # Of entries that nobody measured, the one with most steps, unless the grid has more for the same.
    longest = None if first is None else max((first, *suiting), key=lambda each: each[1].steps)
    steps, has_grids = _grid_steps(request, evaluations, max_steps), request.solver in (None, *SOLVERS)
    if longest is not None and (longest[1].steps >= steps or not has_grids):
        return from_entry(*longest)
    near = nearest_choice(request, max(1, steps), registry) if request.allow_interpolated else None
    if near is None and not has_grids:
        _check_reachable(request, evaluations, registry, max_steps)
    return near or from_grid(request, card.grid, _affordable(request, evaluations, max_steps))


def _check_reachable(request: BudgetRequest, evaluations: int, registry: Registry, max_steps: int) -> None:
    """Refuse fewer evaluations than any schedule takes of a solver that has nothing but searched ones."""
    free = replace(request, evaluations=None)
    held = (each for each in registry.ranked(request.card.id) if each[1].steps <= max_steps and suits(free, *each))
    taken = [schedule.network_evaluations(entry, request.branch_scale) for schedule, entry in held]
    if taken:
        raise refused(f"{evaluations} buys nothing: schedules of solver {request.solver!r} take {min(taken)} or more")


def _grid_steps(request: BudgetRequest, evaluations: int, most: int) -> int:
    """The steps of a grid that a number of network evaluations buys, 0 where not even one.

    Under the model's own solver where the one wanted has no grids.
    """
    wanted = request.solver
    solver = request.card.solver if wanted is None or wanted not in SOLVERS else wanted
    return min(most, most_steps(solver, evaluations, request.branch_scale))


def _affordable(request: BudgetRequest, evaluations: int, most: int) -> int:
    """The steps of a grid that a number of network evaluations buys, one at the least."""
    solver = grid_solver(request)
    steps = _grid_steps(request, evaluations, most)
    if steps < 1:
        raise too_few(solver, evaluations, request.branch_scale)
    return steps
