"""The table of methods: what each is called, what kind it is, and how it gets its samplers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from schedules.grids import GRIDS, shifted
from schedules.search.method import Sampler
from workers.lab.candidate import Candidate, Candidates
from workers.lab.ground import Ground
from workers.lab.searches import Cost, no_cost

Kind = Literal["grid", "stock", "published", "search", "pacer"]
KINDS: tuple[Kind, ...] = ("grid", "stock", "published", "search", "pacer")

SHIFTS = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Of these each stock solver has the best, chosen for each budget on calibration seeds."""

LEARNED = "learned"
_EXTRA = ("karras+dpmpp-2m", "beta+dpmpp-2m", "kl-optimal+dpmpp-2m")
_PUBLISHED = (
    "ays-sd1", "ays-sdxl", "gits-1.15", "gits-ld3-dpmpp", "gits-ld3-ipndm", "neural-solver", "oss-flux", "oss-wan",
    "oss-chroma",
)  # fmt: skip


def any_budget(budget: int) -> bool:
    """A method for every number of steps."""
    return budget >= 1


@dataclass(frozen=True, eq=False)
class Listed:
    """One method.

    Attributes:
        name: of its rows.
        kind: of its rows.
        solver: that samples; "learned" where coefficients belong to the method.
        find: from the calibration seeds and budgets to samplers.
        allows: which budgets it has.
        together: whether one search finds all smaller budgets too; otherwise each is searched alone.
        evaluates: whether the search is worth keeping on disk.
        reads_teacher: whether the teacher is part of its cost.
        cost: guided steps of the search, roughly.
        servable: whether the engine can serve it.
        options: the switches, as they go into the name of what is kept on disk.
    """

    name: str
    kind: Kind
    solver: str
    find: Callable[[Ground, Sequence[int]], Candidates]
    allows: Callable[[int], bool] = any_budget
    together: bool = False
    evaluates: bool = False
    reads_teacher: bool = False
    cost: Cost = field(default=no_cost)
    servable: bool = True
    options: str = ""


def grid_method(grid: str, solver: str = "euler") -> Listed:
    """A grid under a formula solver."""

    def find(_: Ground, budgets: Sequence[int]) -> Candidates:
        return {steps: Sampler.compiled(solver, GRIDS[grid](steps)) for steps in budgets}

    return Listed(_called(grid, solver, "euler"), "grid", solver, find, _budgets_of(solver))


def stock_method(solver: str) -> Listed:
    """A stock solver with its best shift."""

    def find(ground: Ground, budgets: Sequence[int]) -> Candidates:
        split = ground.split(0, ground.problem.seeds_count)

        def best(budget: int) -> Candidate:
            samplers = [Sampler.compiled(solver, shifted(_grid_steps(solver, budget), shift)) for shift in SHIFTS]
            drawn = (split.error(_final(ground, sampler), log=True) for sampler in samplers)
            return min(zip(drawn, range(len(samplers)), samplers, strict=True))[2]

        return {budget: best(budget) for budget in budgets}

    def cost(seeds: int, _: int, budgets: Sequence[int]) -> float:
        return len(SHIFTS) * seeds * sum(budgets)

    name = f"stock {solver}"
    return Listed(name, "stock", solver, find, _budgets_of(solver), evaluates=True, reads_teacher=True, cost=cost)
