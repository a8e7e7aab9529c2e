"""UniPC: DPM-Solver++-like predictor, and a corrector that takes each output twice for free."""

from __future__ import annotations

from math import factorial

import numpy as np

from schedules.compile.dpmpp import first_order_row
from schedules.compile.phi import phi
from schedules.compile.problem import Problem
from schedules.table import FloatArray


def unipc_rows(problem: Problem, order: int) -> FloatArray:
    """UniPC with B(h) = e^h - 1, on the predicted clean image; the last predictors are of lower orders, down to 1.

    Predictors of order p with their corrector give order p + 1.

    The network is evaluated at the predicted states, which are the rows of X, shape (steps + 1, 1 + steps); the
    corrected states stay inside (Zhao et al. 2023, algorithms 5 to 8).
    """
    rows = problem.start(unit_variance=True)
    log_snr = problem.noise.log_snr(problem.sigmas)
    orders = [min(order, k + 1, problem.steps - k) for k in range(problem.steps)]
    corrected = rows[0]
    clean: list[FloatArray] = []
    for k in range(problem.steps):
        clean.append(problem.clean(k, rows[k]))
        if k > 0:
            corrected = _corrector(problem, k - 1, corrected, _Past(clean[:-1], log_snr, orders[k - 1]), clean[k])
        predicted = _predictor(problem, k, corrected, _Past(clean, log_snr, orders[k]))
        rows[k + 1] = problem.reached(k + 1, predicted)
    return rows


class _Past:
    """The clean images that one step uses: the latest and order - 1 before it.

    Attributes:
        ratios: their places in units of the step ahead, 0 for the latest and left out, shape (order - 1,), < 0.
        slopes: the change from the latest, for one step as each of them has it.
    """

    def __init__(self, clean: list[FloatArray], log_snr: FloatArray, order: int) -> None:
        k = len(clean) - 1
        older = range(k - 1, k - order, -1)
        self.latest = clean[k]
        self.step = float(log_snr[k + 1] - log_snr[k])
        self.ratios = np.array([(log_snr[i] - log_snr[k]) / self.step for i in older])
        self.slopes = [(clean[i] - clean[k]) / ratio for i, ratio in zip(older, self.ratios, strict=True)]


def _predictor(problem: Problem, k: int, state: FloatArray, past: _Past) -> FloatArray:
    """UniP of order 1 + the number of slopes; 2 in the authors' short form, weight 1/2."""
    count = len(past.slopes)
    weights = np.full(count, 0.5) if count <= 1 else _weights(past.ratios, past.step)
    return first_order_row(problem, k, state, past.latest + _sum(weights, past.slopes))


def _corrector(problem: Problem, k: int, state: FloatArray, past: _Past, reached: FloatArray) -> FloatArray:
    """UniC: the step from k to k + 1 again, now knowing the clean image predicted at its end."""
    slopes = [*past.slopes, reached - past.latest]
    weights = np.array([0.5]) if len(slopes) == 1 else _weights(np.append(past.ratios, 1.0), past.step)
    return first_order_row(problem, k, state, past.latest + _sum(weights, slopes))


def _sum(weights: FloatArray, slopes: list[FloatArray]) -> FloatArray | float:
    return sum((weight * slope for weight, slope in zip(weights, slopes, strict=True)), 0.0)


def _weights(ratios: FloatArray, step: float) -> FloatArray:
    """Weights rho of the slopes with sum rho_i r_i^(n-1) = n! z phi_{n+1}(z) / (e^z - 1), z = -step, for all n."""
    z = -step
    powers = np.arange(len(ratios))
    moments = [factorial(n) * z * phi(n + 1, z) / np.expm1(z) for n in range(1, len(ratios) + 1)]
    weights: FloatArray = np.linalg.solve(ratios[None, :] ** powers[:, None], np.array(moments))
    return weights
