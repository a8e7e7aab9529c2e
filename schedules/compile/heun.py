"""Heun's method: two evaluations for each step, one on a last step to sigma 0."""

from __future__ import annotations

import numpy as np

from schedules.compile.problem import Problem
from schedules.table import FloatArray


def heun_levels(sigmas: FloatArray) -> FloatArray:
    """The noise level of each evaluation, and the last: the start, both ends of every step, sigma 0 but once.

    Args:
        sigmas: the grid, shape (steps + 1,).

    Returns:
        Shape (2 steps,) where the grid ends in 0, else (2 steps + 1,): one more than there are evaluations.
    """
    inner = np.repeat(sigmas[1:], 2)
    return np.concatenate([sigmas[:1], inner[:-1] if sigmas[-1] == 0 else inner])


def heun_rows(problem: Problem) -> FloatArray:
    """Heun's second-order method on dx/dsigma; Euler on a last step to sigma 0, where there is no slope at the end.

    Rows alternate between the Euler prediction of a step's end and the corrected state.

    Args:
        problem: its sigmas are heun_levels of a grid, shape (E + 1,).

    Returns:
        X, shape (E + 1, 1 + E) (Karras et al. 2022, algorithm 1).
    """
    rows = problem.start(unit_variance=False)
    state = rows[0]
    for k in range(0, problem.steps, 2):
        step = problem.sigmas[k + 1] - problem.sigmas[k]
        slope = problem.derivative(k, state)
        rows[k + 1] = problem.reached(k + 1, state + step * slope)
        if k + 1 < problem.steps:
            mean = 0.5 * (slope + problem.derivative(k + 1, rows[k + 1]))
            state = problem.reached(k + 2, state + step * mean)
            rows[k + 2] = state
    return rows
