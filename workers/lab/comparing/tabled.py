"""Methods that need no search of their own: grids, stock solvers, published tables, entries of the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from schedules.artefact import LEARNED, Schedule
from schedules.compile import SOLVERS, compile_table
from schedules.grids import GRIDS, shifted
from schedules.interpolate import interpolate
from schedules.published.convert import published, published_table
from schedules.published.tables import tables
from schedules.search.method import Sampler
from schedules.search.refine import Split, grid_errors
from workers.lab.candidate import Candidates
from workers.lab.comparing.ground import Ground
from workers.lab.comparing.listed import Kind, Listed, any_budget

SHIFTS = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Of these a stock solver has the best of each budget, chosen on the calibration seeds by the mean PSNR."""


def grid_method(grid: str, solver: str, name: str) -> Listed:
    """A grid under a formula solver."""

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        return {budget: Sampler.compiled(solver, GRIDS[grid](steps_for(solver, budget))) for budget in budgets}

    return Listed(name, "grid", solver, find, _budgets_of(solver))


def stock_method(solver: str) -> Listed:
    """A stock solver with its best shift."""

    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        split = ground.split(0, ground.problem.seeds_count)
        return {budget: _best_shift(split, solver, budget) for budget in budgets}

    def cost(seeds: int, _: int, budgets: Sequence[int]) -> float:
        return len(SHIFTS) * seeds * sum(budgets)

    return Listed(solver, "stock", solver, find, _budgets_of(solver), searched=True, cost=cost, switches=repr(SHIFTS))


def shift_of(sampler: Sampler) -> float:
    """The shift of a shifted grid of two steps or more; 1 for a single step."""
    steps = len(sampler.sigmas) - 1
    return min(SHIFTS, key=lambda shift: float(abs(shifted(steps, shift) - sampler.sigmas).max()))


def published_method(family: str, solver: str | None, name: str) -> Listed:
    """A published table begun at pure noise; the table of another length stretched where its own is missing."""
    known = tables(family)
    begin = None if known.coefficients else 1.0

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        return {
            steps: Sampler(
                published(family, steps, start=begin).sigmas,
                published_table(family, steps, solver=solver, start=begin),
            )
            for steps in budgets
        }

    allows = known.budgets.__contains__ if known.coefficients else any_budget
    return Listed(name, "published", solver or known.solver, find, allows)


def registry_method(schedule: Schedule, name: str) -> Listed:
    """The entries of an artefact of a flow model."""

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        entries = [schedule.entry(steps) for steps in budgets]
        return {entry.steps: Sampler(entry.sigma_array(), schedule.table(entry)) for entry in entries if entry}

    kind: Kind = "pacer" if schedule.solver == LEARNED else "search"
    return Listed(
        name, kind, schedule.solver, find, lambda steps: schedule.entry(steps) is not None, known_cost=_cost(schedule)
    )


def interpolated_method(schedule: Schedule, name: str) -> Listed:
    """Budgets that were not searched, from the nearest entries; one that was, as if it had not been."""
    family = {entry.steps: entry.sigma_array() for entry in schedule.entries}

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        others = {budget: {steps: family[steps] for steps in family if steps != budget} for budget in budgets}
        return {budget: Sampler.compiled(schedule.solver, interpolate(others[budget], budget)) for budget in budgets}

    def allows(budget: int) -> bool:
        return budget not in family or min(family) < budget < max(family)

    return Listed(name, "search", schedule.solver, find, allows, known_cost=_cost(schedule))


def steps_for(solver: str, budget: int) -> int:
    """The steps for which a solver evaluates as often as the budget has it: Heun takes 2 n - 1 evaluations for n."""
    return (budget + 1) // 2 if solver == "heun" else budget


def _cost(schedule: Schedule) -> tuple[int | None, float | None]:
    """What the artefact says that its search took, where it does."""
    said = schedule.provenance.parameters
    evaluations, seconds = said.get("search_evaluations"), said.get("search_seconds")
    return None if evaluations is None else int(evaluations), None if seconds is None else float(seconds)


def _budgets_of(solver: str) -> Callable[[int], bool]:
    if solver not in SOLVERS:
        raise ValueError(f"solver: must be one of {', '.join(SOLVERS)}, is {solver!r}")
    return (lambda budget: budget % 2 == 1) if solver == "heun" else any_budget


def _best_shift(split: Split, solver: str, budget: int) -> Sampler:
    steps = steps_for(solver, budget)
    grids = [shifted(steps, shift) for shift in SHIFTS]
    errors = grid_errors(split, grids, lambda sigmas: compile_table(solver, sigmas, "flow"), log=True)
    return Sampler.compiled(solver, grids[int(np.argmin(errors))])
