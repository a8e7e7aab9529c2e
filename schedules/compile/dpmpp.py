"""DPM-Solver++(2M) and (3M): exponential integrators on the predicted clean image."""

from __future__ import annotations

import numpy as np

from schedules.compile.phi import phi
from schedules.compile.problem import Problem
from schedules.table import FloatArray


def dpmpp_2m_rows(problem: Problem) -> FloatArray:
    """DPM-Solver++(2M), midpoint form; first order on the first step and on the last one to sigma 0.

    Flow or variance-exploding coordinates, X of shape (steps + 1, 1 + steps) (Lu et al. 2022, algorithm 2).
    """
    rows = problem.start(unit_variance=True)
    log_snr = problem.noise.log_snr(problem.sigmas)
    clean: list[FloatArray] = []
    for k in range(problem.steps):
        clean.append(problem.clean(k, rows[k]))
        target = clean[k] if k == 0 else clean[k] + _slope_share(log_snr, k) * (clean[k] - clean[k - 1])
        rows[k + 1] = problem.reached(k + 1, first_order_row(problem, k, rows[k], target))
    return rows


def dpmpp_3m_rows(problem: Problem) -> FloatArray:
    """DPM-Solver++(3M) as it was released: lower orders at the start, at the end of short grids and to sigma 0.

    Its term in the second derivative has half the weight that the Taylor expansion asks for. Everybody's form has
    that, so this one has it too; the error therefore falls with the square of the step, like that of 2M.

    Flow or variance-exploding coordinates, X of shape (steps + 1, 1 + steps) (Lu et al. 2022, section 3.4 and code).
    """
    rows = problem.start(unit_variance=True)
    log_snr = problem.noise.log_snr(problem.sigmas)
    clean: list[FloatArray] = []
    for k in range(problem.steps):
        clean.append(problem.clean(k, rows[k]))
        order = problem.usable_order(k, 3)
        share = _slope_share(log_snr, k) if order == 2 else 0.0
        row = first_order_row(problem, k, rows[k], clean[k] + share * (clean[k] - clean[max(k - 1, 0)]))
        if order == 3:
            row += problem.noise.alpha(problem.sigmas[k + 1 : k + 2]) * _taylor_terms(clean, log_snr)
        rows[k + 1] = problem.reached(k + 1, row)
    return rows


def _taylor_terms(clean: list[FloatArray], log_snr: FloatArray) -> FloatArray:
    """What the first two derivatives of the last three clean images' interpolant add over the step ahead."""
    k = len(clean) - 1
    step = log_snr[k + 1] - log_snr[k]
    newer, older = (log_snr[k] - log_snr[k - 1]) / step, (log_snr[k - 1] - log_snr[k - 2]) / step
    newer_slope, older_slope = (clean[k] - clean[k - 1]) / newer, (clean[k - 1] - clean[k - 2]) / older
    bend = (newer_slope - older_slope) / (newer + older)
    slope = newer_slope + newer * bend
    terms: FloatArray = step * (phi(2, -step) * slope + phi(3, -step) * bend)
    return terms


def _slope_share(log_snr: FloatArray, k: int) -> float:
    """1 / (2 r), r = h_{k-1} / h_k; 0 on the step to sigma 0, which is infinitely long."""
    step, before = log_snr[k + 1] - log_snr[k], log_snr[k] - log_snr[k - 1]
    return float(0.5 * step / before) if np.isfinite(step) else 0.0


def first_order_row(problem: Problem, k: int, state: FloatArray, target: FloatArray) -> FloatArray:
    """From sigma_k to sigma_{k+1} towards a clean image held constant, exactly.

    x' = (sigma' / sigma) x + (alpha' - alpha sigma' / sigma) x0, which is alpha' (1 - e^{-h}) beside x0.
    """
    alpha, alpha_next = problem.noise.alpha(problem.sigmas[k : k + 2])
    ratio = problem.sigmas[k + 1] / problem.sigmas[k]
    row: FloatArray = ratio * state + (alpha_next - alpha * ratio) * target
    return row
