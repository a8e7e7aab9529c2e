"""One method as the comparison lists it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from workers.lab.candidate import Candidates
from workers.lab.comparing.ground import Ground
from workers.lab.prompts import SplitName

Kind = Literal["grid", "stock", "published", "search", "pacer"]
KINDS: tuple[Kind, ...] = ("grid", "stock", "published", "search", "pacer")

Find = Callable[[Ground, Sequence[int]], Candidates]
"""From the seeds of a search and budgets to a sampler for each budget."""

Cost = Callable[[int, int, Sequence[int]], float]
"""From the search's seeds, the coarse teacher's nodes and budgets to guided steps of the search, roughly."""


def any_budget(budget: int) -> bool:
    """For methods that have every number of steps."""
    return budget >= 1


def no_cost(seeds: int, nodes: int, budgets: Sequence[int]) -> float:
    """For methods that evaluate nothing."""
    del seeds, nodes, budgets
    return 0.0


@dataclass(frozen=True, eq=False)
class Listed:
    """One method.

    Attributes:
        name: of its rows.
        kind: of its rows.
        solver: that samples; LEARNED where coefficients belong to the method.
        find: its search, or what looks it up.
        allows: which budgets it has.
        searched: whether it looks at the model; then what it finds is kept on disk.
        searched_on: the seeds of its search; the measured ones for what each seed would have at best, never served.
        together: whether one search finds every budget up to the largest; otherwise each is searched alone.
        in_order: whether the search of each budget begins where the one before ended; then all are searched in one go.
        cost: of the search.
        known_cost: evaluations and seconds of a method that is not searched here; None where nobody knows.
        needs_teacher: whether its search costs the teacher as well.
        evaluations: budgets of its own, in forwards for one image, instead of the run's budgets of steps.
        switches: those that differ from run to run; part of the name of what is kept on disk.
        servable: whether the engine can serve what it finds.
    """

    name: str
    kind: Kind
    solver: str
    find: Find
    allows: Callable[[int], bool] = any_budget
    searched: bool = False
    searched_on: SplitName = "calibration"
    together: bool = False
    in_order: bool = False
    cost: Cost = no_cost
    known_cost: tuple[int | None, float | None] = (0, 0.0)
    needs_teacher: bool = True
    evaluations: tuple[int, ...] = ()
    switches: str = ""
    servable: bool = True
