"""Solvers on dx/dsigma: Euler and Adams-Bashforth of orders 2 and 3 on uneven grids; DDIM."""

from __future__ import annotations

import numpy as np

from schedules.compile.problem import Problem
from schedules.table import FloatArray


def adams_bashforth_rows(problem: Problem, order: int) -> FloatArray:
    """Variable-step Adams-Bashforth; order 1 is Euler, and the first steps have the order that their past allows.

    Flow or variance-exploding coordinates, X of shape (steps + 1, 1 + steps) (Hairer, Norsett, Wanner, III.5).
    """
    return _integrate(problem, order, unit_variance=False)


def ddim_rows(problem: Problem) -> FloatArray:
    """DDIM, eta 0: Euler's step in these coordinates, from noise that is the whole variance-preserving state.

    X of shape (steps + 1, 1 + steps) (Song et al. 2020, equation 13).
    """
    return _integrate(problem, 1, unit_variance=True)


def _integrate(problem: Problem, order: int, *, unit_variance: bool) -> FloatArray:
    rows = problem.start(unit_variance=unit_variance)
    slopes: list[FloatArray] = []
    for k in range(problem.steps):
        slopes.append(problem.derivative(k, rows[k]))
        past = slopes[-1 : -order - 1 : -1]
        weights = adams_weights(problem.sigmas[: k + 2], len(past))
        change = sum(weight * slope for weight, slope in zip(weights, past, strict=True))
        rows[k + 1] = problem.reached(k + 1, rows[k] + change)
    return rows


def adams_weights(sigmas: FloatArray, order: int) -> FloatArray:
    """Weights of the latest slopes, newest first: the integral of their interpolant over the last interval.

    Args:
        sigmas: the grid up to the end of the step, strictly falling, at least order + 1 values.
        order: how many slopes, >= 1.

    Returns:
        Shape (order,), float64, summing to the step sigmas[-1] - sigmas[-2].
    """
    step = sigmas[-1] - sigmas[-2]
    nodes = (sigmas[-2 : -order - 2 : -1] - sigmas[-2]) / step  # 0 for the newest, negative for the older
    powers = np.arange(order)
    weights: FloatArray = step * np.linalg.solve(nodes[None, :] ** powers[:, None], 1.0 / (powers + 1.0))
    return weights
