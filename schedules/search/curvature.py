"""Quantiles of the velocity's change along the teacher's path (SharpEuler, 2026): one curve, every budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schedules.search.method import Sampler, Samplers
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher
from schedules.table import FloatArray


def curvature(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    gamma: float = 0.5,
    smoothing: float = 0.02,
    solver: str = "euler",
) -> Samplers:
    """SharpEuler (arXiv 2605.11547, 2026): equal shares of the density |dv/dsigma|^gamma between any two levels.

    No evaluation beside the teacher's, which has 1000 steps in the paper. Memory: the teacher's velocities once more.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds; not evaluated.
        budgets: numbers of steps, each >= 1.
        gamma: the density's exponent, >= 0; 0 gives the uniform grid, 1/2 equal errors of Euler's steps.
        smoothing: standard deviation in sigma of the Gaussian that smooths the density, >= 0.
        solver: what samples on the grids.

    Raises:
        ValueError: a budget below 1, a negative switch, or a teacher with fewer than two nodes.
    """
    del problem
    if min(budgets) < 1:
        raise ValueError(f"budgets: must be at least 1, are {tuple(budgets)}")
    density = rate_density(teacher, gamma=gamma, smoothing=smoothing)
    return {k: Sampler.compiled(solver, density_quantiles(teacher.sigmas, density, k)) for k in budgets}


def rate_density(teacher: Teacher, *, gamma: float = 0.5, smoothing: float = 0.0) -> FloatArray:
    """The density over the teacher's intervals, up to a factor, shape (N,), float64.

    Args:
        teacher: trajectories with at least two nodes. The last interval, at whose end no velocity is known, takes the
            rate of the one before it.
        gamma: the exponent of the rate, >= 0.
        smoothing: standard deviation of the Gaussian in sigma, >= 0.

    Raises:
        ValueError: a negative switch, or a teacher with fewer than two nodes.
    """
    if gamma < 0 or smoothing < 0:
        raise ValueError(f"gamma, smoothing: must be >= 0, are {gamma}, {smoothing}")
    if teacher.nodes_count < 2:
        raise ValueError(f"teacher: needs at least 2 nodes, has {teacher.nodes_count}")
    changes = (teacher.velocities[1:] - teacher.velocities[:-1]).flatten(2).norm(dim=2).mean(1)
    rates = changes.double().cpu().numpy() / -np.diff(teacher.sigmas)[:-1]
    # A velocity that never changes leaves all grids equal; the floor makes that the uniform one.
    density = np.maximum(np.append(rates, rates[-1]), 1e-12 + 1e-6 * rates.max()) ** gamma
    return _smoothed(teacher.sigmas, density, smoothing) if smoothing else density


def density_quantiles(sigmas: FloatArray, density: FloatArray, steps: int) -> FloatArray:
    """The levels between which the density has equal shares.

    Args:
        sigmas: falling nodes, shape (N + 1,).
        density: constant on each interval, > 0, shape (N,).
        steps: at least 1.

    Returns:
        Levels from the first node to the last, shape (steps + 1,), float64.
    """
    shares = np.append(0.0, np.cumsum(density * -np.diff(sigmas)))
    levels = np.interp(np.linspace(0.0, shares[-1], steps + 1), shares, sigmas)
    levels[[0, -1]] = sigmas[[0, -1]]
    return np.asarray(levels)


def _smoothed(sigmas: FloatArray, density: FloatArray, width: float) -> FloatArray:
    """A Gaussian average over the intervals' middles, normalised anew near the ends."""
    middles = (sigmas[1:] + sigmas[:-1]) / 2
    kernel = np.exp(-0.5 * ((middles[:, None] - middles) / width) ** 2) * -np.diff(sigmas)
    return np.asarray(kernel @ density / kernel.sum(1))
