"""Methods that need no search of their own: grids, stock solvers, published tables, entries of the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from schedules.artefact import LEARNED, Schedule
from schedules.compile import SOLVERS
from schedules.coordinates import flow_levels
from schedules.grids import GRIDS, shifted
from schedules.interpolate import interpolate
from schedules.published.convert import published, published_table
from schedules.published.tables import tables
from schedules.search.method import Sampler
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.table import FloatArray
from workers.lab.candidate import Candidates
from workers.lab.comparing.ground import Ground
from workers.lab.comparing.listed import Kind, Listed, any_budget
from workers.lab.native import Native, artefact_sampler, native_of

SHIFTS = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Of these, and of the grids of its own noise, a stock solver has the best of each budget: by mean PSNR on the
calibration seeds."""


def grid_method(grid: str, solver: str, name: str) -> Listed:
    """A grid under a formula solver."""

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        return {budget: Sampler.compiled(solver, GRIDS[grid](steps_for(solver, budget))) for budget in budgets}

    return Listed(name, "grid", solver, find, _budgets_of(solver))


def stock_method(solver: str) -> Listed:
    """A stock solver on its best grid."""

    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        split = ground.split(0, ground.problem.seeds_count)
        native = ground.subject.model.native
        return {budget: _best(split, _stock(native, solver, steps_for(solver, budget))) for budget in budgets}

    def cost(seeds: int, _: int, budgets: Sequence[int]) -> float:
        return len(SHIFTS) * seeds * sum(budgets)

    return Listed(solver, "stock", solver, find, _budgets_of(solver), searched=True, cost=cost, switches=repr(SHIFTS))


def stock_grid_of(native: Native, sampler: Sampler) -> float | str:
    """The shift of a stock solver's grid, or the name of one of the network's own; the first of those that agree."""
    grids = _stock_levels(native, len(sampler.sigmas) - 1)
    return min(grids, key=lambda name: float(abs(grids[name] - sampler.sigmas).max()))


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
    """The entries of an artefact."""

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        entries = [schedule.entry(steps) for steps in budgets]
        return {entry.steps: artefact_sampler(schedule, entry) for entry in entries if entry}

    kind: Kind = "pacer" if schedule.solver == LEARNED else "search"
    return Listed(
        name, kind, schedule.solver, find, lambda steps: schedule.entry(steps) is not None, known_cost=_cost(schedule)
    )


def interpolated_method(schedule: Schedule, name: str) -> Listed:
    """Budgets that were not searched, from the nearest entries; one that was, as if it had not been."""
    family, native = {entry.steps: entry.sigma_array() for entry in schedule.entries}, native_of(schedule)

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        others = {budget: {steps: family[steps] for steps in family if steps != budget} for budget in budgets}
        return {budget: native.compiled(schedule.solver, interpolate(others[budget], budget)) for budget in budgets}

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


def _stock_levels(native: Native, steps: int) -> dict[float | str, FloatArray]:
    """Flow levels of the grids that a stock solver may have, shape (steps + 1,) each."""
    grids: dict[float | str, FloatArray] = {shift: shifted(steps, shift) for shift in SHIFTS}
    own = () if native.noise is None else native.grids
    return grids | {name: flow_levels(native.grid(name)(steps)) for name in own}


def _stock(native: Native, solver: str, steps: int) -> list[Sampler]:
    own = [] if native.noise is None else [native.compiled(solver, native.grid(name)(steps)) for name in native.grids]
    return [*(Sampler.compiled(solver, shifted(steps, shift)) for shift in SHIFTS), *own]


def _best(split: Split, samplers: Sequence[Sampler]) -> Sampler:
    errors, latest = list[float](), None
    for sampler in samplers:
        latest = roll_out(split.problem, sampler.table, after=latest)
        errors.append(split.error(latest.final, log=True))
    return samplers[int(np.argmin(errors))]
