"""DEIS: the predicted noise as a polynomial in log rho, integrated exactly over rho = sigma / alpha."""

from __future__ import annotations

import numpy as np

from schedules.compile.dpmpp import first_order_row
from schedules.compile.problem import Problem
from schedules.table import FloatArray

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def deis_rows(problem: Problem, order: int) -> FloatArray:
    """DEIS with the polynomial in log rho; lower orders at the start, at the end of short grids and to sigma 0.

    As x / alpha is x0 + rho n, its derivative by rho is the predicted noise. A polynomial in rho itself would be
    Adams-Bashforth on the noise: ab2 and ab3 for epsilon models.

    Flow or variance-exploding coordinates, X of shape (steps + 1, 1 + steps) (Zhang and Chen 2022, section 3.3).
    """
    rows = problem.start(unit_variance=True)
    log_rho = -problem.noise.log_snr(problem.sigmas)
    epsilons: list[FloatArray] = []
    for k in range(problem.steps):
        epsilons.append(problem.epsilon(k, rows[k]))
        row = first_order_row(problem, k, rows[k], problem.clean(k, rows[k]))
        count = problem.usable_order(k, order)
        if count > 1:
            past = epsilons[-1 : -count - 1 : -1]
            weights = np.exp(log_rho[k]) * deis_weights(log_rho[: k + 2], count)
            change = sum(w * (eps - past[0]) for w, eps in zip(weights[1:], past[1:], strict=True))
            row += problem.noise.alpha(problem.sigmas[k + 1 : k + 2]) * change
        rows[k + 1] = problem.reached(k + 1, row)
    return rows


def deis_weights(log_rho: FloatArray, order: int) -> FloatArray:
    """Weights of the latest predicted noises, newest first, for a step in rho, in units of rho at its start.

    The integral of e^u l_i(u) for u from 0 to the step in log rho, l_i the Lagrange polynomials of the past.

    Args:
        log_rho: the grid up to the end of the step, strictly falling, finite, at least order + 1 values.
        order: how many noises, >= 1.

    Returns:
        Shape (order,), float64, summing to e^U - 1, U the step in log rho.
    """
    end = log_rho[-1] - log_rho[-2]
    nodes = (log_rho[-2 : -order - 2 : -1] - log_rho[-2]) / end  # 0 for the newest, negative for the older
    powers = np.arange(order)
    places = 0.5 * (_NODES + 1.0)  # by quadrature, as the closed form cancels for short steps
    moments = 0.5 * end * (places[None, :] ** powers[:, None]) @ (_WEIGHTS * np.exp(end * places))
    weights: FloatArray = np.linalg.solve(nodes[None, :] ** powers[:, None], moments)
    return weights
