"""What a search method is: one signature for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schedules.compile import compile_table
from schedules.noise import FLOW
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher
from schedules.table import FloatArray, Table, all_fresh


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

    @classmethod
    def learned(cls, sigmas: FloatArray, rows: FloatArray, times: FloatArray | None = None) -> Sampler:
        """Fitted rows over the starting noise and the velocities.

        Args:
            sigmas: noise levels, falling, shape (steps + 1,), float64.
            rows: X of the table, shape (steps + 1, 1 + steps), float64.
            times: the network's own time of each evaluation, shape (steps,); what the noise levels say if not given.
        """
        steps = len(sigmas) - 1
        t = FLOW.time(sigmas[:-1]) if times is None else times
        return cls(sigmas, Table(t=t, c=np.ones(steps), w=np.ones(steps), uncond=all_fresh(steps), X=rows))


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
