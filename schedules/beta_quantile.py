"""Quantiles of the Beta distribution in plain numpy, so that the gateway needs no scipy."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

import numpy as np

from schedules.table import FloatArray

_TINY = 1e-300
_ITERATIONS = 200


def beta_quantile(probabilities: FloatArray, alpha: float, beta: float) -> FloatArray:
    """The x with I_x(alpha, beta) = p.

    Args:
        probabilities: p, any shape, in [0, 1].
        alpha: the first shape parameter, > 0.
        beta: the second shape parameter, > 0.

    Returns:
        x in [0, 1], the same shape, float64; absolute error about 1e-15.
    """
    flat = [_quantile(float(p), alpha, beta) for p in np.ravel(probabilities)]
    return np.array(flat).reshape(np.shape(probabilities))


def _quantile(probability: float, alpha: float, beta: float) -> float:
    """Newton's method, kept inside a bracket: the density may be infinite at either end."""
    low, x, high = 0.0, 0.5, 1.0
    if probability in (low, high):
        return probability
    for _ in range(_ITERATIONS):
        excess = incomplete_beta(x, alpha, beta) - probability
        low, high = (low, x) if excess > 0 else (x, high)
        newton = x - excess * x * (1.0 - x) / _front(x, alpha, beta)
        following = newton if low < newton < high else 0.5 * (low + high)
        if abs(following - x) <= 1e-16:
            break
        x = following
    return x


def incomplete_beta(x: float, alpha: float, beta: float) -> float:
    """The regularised incomplete beta function I_x(alpha, beta), x in [0, 1] (DLMF 8.17)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (alpha + 1.0) / (alpha + beta + 2.0):  # where the fraction converges slowly; DLMF 8.17.4
        return 1.0 - incomplete_beta(1.0 - x, beta, alpha)
    return _front(x, alpha, beta) / (alpha * _continued_fraction(x, alpha, beta))


def _front(x: float, alpha: float, beta: float) -> float:
    """x^alpha (1 - x)^beta / B(alpha, beta), which is x (1 - x) times the density."""
    return exp(alpha * log(x) + beta * log1p(-x) + lgamma(alpha + beta) - lgamma(alpha) - lgamma(beta))


def _continued_fraction(x: float, alpha: float, beta: float) -> float:
    """1 + d_1/(1 + d_2/(1 + ...)) of DLMF 8.17.22 by Lentz's method (DLMF 3.10.9)."""
    value = upper = 1.0
    lower = 0.0
    for n in range(1, 500):
        d = _coefficient(n, x, alpha, beta)
        lower = 1.0 / ((1.0 + d * lower) or _TINY)
        upper = (1.0 + d / upper) or _TINY
        value *= upper * lower
        if abs(upper * lower - 1.0) < 1e-16:
            break
    return value


def _coefficient(n: int, x: float, alpha: float, beta: float) -> float:
    """d_n of DLMF 8.17.23."""
    m = n // 2
    if n % 2 == 0:
        return m * (beta - m) * x / ((alpha + 2 * m - 1) * (alpha + 2 * m))
    return -(alpha + m) * (alpha + beta + m) * x / ((alpha + 2 * m) * (alpha + 2 * m + 1))
