"""iPNDM: Adams-Bashforth with the coefficients of even grids, whatever the grid."""

from __future__ import annotations

import numpy as np

from schedules.compile.problem import Problem
from schedules.table import FloatArray

_COEFFICIENTS = (
    np.array([1.0]),
    np.array([3.0, -1.0]) / 2,
    np.array([23.0, -16.0, 5.0]) / 12,
    np.array([55.0, -59.0, 37.0, -9.0]) / 24,
)


def ipndm_rows(problem: Problem) -> FloatArray:
    """iPNDM: of order 1, 2 and 3 on the first steps, then 4, on dx/dsigma.

    For epsilon and v models that is the predicted noise, in variance-exploding coordinates; for flows the velocity.
    Since the coefficients are those of even grids and the first steps have lower orders, the error falls with the
    square of the step on smooth grids; beyond that the fourth order only makes it small.

    X of shape (steps + 1, 1 + steps) (Zhang and Chen 2022, appendix B; Liu et al. 2022, equation 9).
    """
    rows = problem.start(unit_variance=True)
    slopes: list[FloatArray] = []
    for k in range(problem.steps):
        slopes.append(problem.derivative(k, rows[k]))
        coefficients = _COEFFICIENTS[min(k, 3)]
        past = slopes[-1 : -len(coefficients) - 1 : -1]
        mean = sum(weight * slope for weight, slope in zip(coefficients, past, strict=True))
        step = problem.sigmas[k + 1] - problem.sigmas[k]
        rows[k + 1] = problem.reached(k + 1, rows[k] + step * mean)
    return rows
