"""UniPC-2: DPM-Solver++-like predictor, and a corrector that takes each output twice for free."""

from __future__ import annotations

from math import factorial

import numpy as np

from schedules.compile.dpmpp import first_order_row
from schedules.compile.problem import Problem
from schedules.table import FloatArray


def unipc_2_rows(problem: Problem) -> FloatArray:
    """UniPC of order 2 with B(h) = e^h - 1, on the predicted clean image; the last predictor is of order 1.

    The network is evaluated at the predicted states, which are the rows of X, shape (steps + 1, 1 + steps); the
    corrected states stay inside (Zhao et al. 2023, algorithms 5 to 8).
    """
    rows = problem.start(unit_variance=True)
    log_snr = problem.noise.log_snr(problem.sigmas)
    corrected = rows[0]
    clean: list[FloatArray] = []
    for k in range(problem.steps):
        clean.append(problem.clean(k, rows[k]))
        if k > 0:
            corrected = _corrector(problem, k - 1, corrected, clean, log_snr)
        rows[k + 1] = _predictor(problem, k, corrected, clean, log_snr)
    return rows


def _predictor(problem: Problem, k: int, state: FloatArray, clean: list[FloatArray], log_snr: FloatArray) -> FloatArray:
    """UniP: order 2 where there is a past and a further step, else order 1."""
    if k == 0 or k == problem.steps - 1:
        return first_order_row(problem, k, state, clean[k])
    slope = _past_slope(clean, k, log_snr)
    return first_order_row(problem, k, state, clean[k] + 0.5 * slope)


def _corrector(problem: Problem, k: int, state: FloatArray, clean: list[FloatArray], log_snr: FloatArray) -> FloatArray:
    """UniC: the step from k to k + 1 again, now knowing the clean image predicted at its end."""
    change = clean[k + 1] - clean[k]
    if k == 0:
        return first_order_row(problem, k, state, clean[k] + 0.5 * change)
    ratio = (log_snr[k - 1] - log_snr[k]) / (log_snr[k + 1] - log_snr[k])  # r_1 < 0
    first, second = _moments(log_snr[k + 1] - log_snr[k])
    past_weight = (second - first) / (ratio - 1.0)  # solves [[1, 1], [r_1, 1]] rho = (first, second)
    slope = past_weight * _past_slope(clean, k, log_snr) + (first - past_weight) * change
    return first_order_row(problem, k, state, clean[k] + slope)


def _past_slope(clean: list[FloatArray], k: int, log_snr: FloatArray) -> FloatArray:
    """(x0_{k-1} - x0_k) / r_1: the change over one step as the past has it."""
    inverse_ratio = float((log_snr[k + 1] - log_snr[k]) / (log_snr[k - 1] - log_snr[k]))
    return inverse_ratio * (clean[k - 1] - clean[k])


def _moments(step: float) -> tuple[float, float]:
    """The right sides of the corrector's conditions, n! z phi_{n+1}(z) / (e^z - 1) at z = -step for n = 1, 2."""
    z = -float(step)
    return z * _phi(2, z) / np.expm1(z), 2.0 * z * _phi(3, z) / np.expm1(z)


def _phi(n: int, z: float) -> float:
    """phi_n(z) = sum of z^j / (j + n)!, by its series where the closed form would cancel."""
    if abs(z) < 1.0:
        return sum(z**j / factorial(j + n) for j in range(20))
    value = np.expm1(z) / z
    for k in range(1, n):
        value = (value - 1.0 / factorial(k)) / z
    return float(value)
