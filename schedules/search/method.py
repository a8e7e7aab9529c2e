"""What a search method is: one signature for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schedules.compile import compile_table
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher
from schedules.table import FloatArray, Table


@dataclass(frozen=True, eq=False)
class Sampler:
    """What a method found for one budget.

    Attributes:
        sigmas: noise levels, falling, shape (steps + 1,), float64.
        table: the sampler over them, in flow coordinates.
    """

    sigmas: FloatArray
    table: Table

    @classmethod
    def compiled(cls, solver: str, sigmas: FloatArray) -> Sampler:
        """A formula solver on noise levels that a method chose."""
        return cls(sigmas, compile_table(solver, sigmas, "flow"))


Samplers = Mapping[int, Sampler]
"""One sampler for each step budget."""


class Method(Protocol):
    """A way to find samplers: teacher, velocity and budgets in, a sampler for each budget out.

    Switches of a method are its keyword arguments, with the defaults that its paper used.
    """

    def __call__(self, teacher: Teacher, problem: SearchProblem, budgets: Sequence[int]) -> Samplers:
        """Search.

        Args:
            teacher: the calibration seeds' trajectories at the nodes of a grid.
            problem: the same seeds; `problem.velocity` is the network.
            budgets: numbers of steps, rising, each >= 1.
        """
        ...
