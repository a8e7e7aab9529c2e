"""What a small error made at a noise level has grown to at the end, measured by finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

LEVELS = (1.0, 0.96, 0.92, 0.87, 0.8, 0.7, 0.6, 0.45, 0.3, 0.15)
_SIZE = 0.02  # root mean square of the error put in; a student's own are about as large
_STEPS, _SHIFT = 7, 2.5
_SEEDS = 24


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Growth by noise level.

    Attributes:
        sigmas: noise levels, falling, the last 0, shape (n,), float64.
        growth: final over initial root mean square error, geometric mean over seeds, shape (n,), float64; 1 at 0.
    """

    sigmas: FloatArray
    growth: FloatArray

    def at(self, sigmas: FloatArray) -> FloatArray:
        """Growth at any noise levels, linear between the measured ones."""
        return np.asarray(np.interp(-sigmas, -self.sigmas, self.growth))


def measure_sensitivity(
    problem: SearchProblem, teacher: Teacher, *, seeds: int = _SEEDS, levels: Sequence[float] = LEVELS
) -> Sensitivity:
    """Push the teacher's samples along their path's bend, the way a solver errs, and see how far apart they end.

    Takes guided evaluations as `sensitivity_cost` says.

    Args:
        problem: the calibration seeds.
        teacher: their trajectories.
        seeds: how many of them are used.
        levels: noise levels, falling, in (0, 1].
    """
    few, paths = problem.take(min(seeds, problem.seeds_count)), teacher.take(min(seeds, problem.seeds_count))
    growth = [_growth(few, paths, level) for level in levels]
    return Sensitivity(np.append(np.array(levels), 0.0), np.append(np.array(growth), 1.0))


def sensitivity_cost(seeds: int) -> int:
    """Guided evaluations of `measure_sensitivity` at its own levels, where there are so many seeds."""
    return 2 * _STEPS * len(LEVELS) * min(seeds, _SEEDS)


def _growth(problem: SearchProblem, teacher: Teacher, level: float) -> float:
    x = teacher.state_at(level)
    bend = _bend(teacher, level)
    push = _SIZE * bend / _size(bend).clamp_min(1e-20).reshape(-1, *[1] * (bend.ndim - 1))
    ends = [_descend(problem, start, level) for start in (x, x + push)]
    return float(((_size(ends[1] - ends[0]) / _SIZE).clamp_min(1e-6)).log().mean().exp())


def _bend(teacher: Teacher, level: float) -> Tensor:
    """The change of the velocity around a noise level, shape (M, *latent)."""
    node = int(np.abs(teacher.sigmas - level).argmin())
    reach = max(1, teacher.nodes_count // 50)
    first, last = max(node - reach, 0), min(node + reach, teacher.nodes_count - 1)
    return teacher.velocities[last] - teacher.velocities[first]


def _size(x: Tensor) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def _descend(problem: SearchProblem, x: Tensor, level: float) -> Tensor:
    """Second-order Adams-Bashforth from a noise level to 0."""
    table = compile_table("ab2", level * shifted(_STEPS, _SHIFT), "flow")
    return roll_out(replace(problem, noise=x), table).final
