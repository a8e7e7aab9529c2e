"""Multistep sampling of consistency models: a clean image at each step, then fresh noise on it."""

from __future__ import annotations

import numpy as np

from schedules.compile.problem import Problem
from schedules.table import FloatArray

_SIGMA_DATA = 0.5
_TIME_SCALE = 10.0


def lcm_rows(problem: Problem) -> FloatArray:
    """X of shape (steps + 1, 2 steps), the draws before evaluations 1 to steps - 1 behind the outputs.

    x_{k+1} = alpha f(x_k) + sigma n, and the result is the last f itself (Song et al. 2023, arXiv 2303.01469,
    algorithm 1; Luo et al. 2023, arXiv 2310.04378).
    """
    rows = problem.start(unit_variance=True)
    own, predicted = _boundary(problem)
    alphas = problem.noise.alpha(problem.sigmas)
    for k in range(problem.steps):
        clean = own[k] * rows[k] + predicted[k] * problem.clean(k, rows[k])
        last = k + 1 == problem.steps
        rows[k + 1] = clean if last else problem.reached(k + 1, alphas[k + 1] * clean)
    return rows


def _boundary(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Weights of the state and of the predicted clean image in f, which at time 0 is the state; shape (steps,) each."""
    levels = problem.sigmas[:-1]
    if problem.noise.kind == "flow":
        return np.zeros_like(levels), np.ones_like(levels)
    times = _TIME_SCALE * problem.noise.time(levels)
    square = times**2 + _SIGMA_DATA**2
    return problem.noise.input_scale(levels) * _SIGMA_DATA**2 / square, times / np.sqrt(square)
