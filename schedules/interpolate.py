"""Noise levels for budgets that were not searched: from the family of those that were, not from one of them stretched.

A grid is read as a curve: the logarithms of its gaps over the share of steps done. Curves of neighbouring budgets are
alike, so the one between them is their mean, weighted by how near they are in the logarithm of the budget.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schedules.table import FloatArray


def interpolate(family: Mapping[int, FloatArray], steps: int) -> FloatArray:
    """The grid of a budget from the searched ones on both sides of it, or from the nearest one beyond the ends.

    Args:
        family: noise levels falling to 0 by budget, each of shape (budget + 1,).
        steps: the budget wanted, >= 1.

    Returns:
        Noise levels, shape (steps + 1,), float64; a searched budget's own where there is one.

    Raises:
        ValueError: an empty family, or no steps.
    """
    if not family or steps < 1:
        raise ValueError(f"steps: must be at least 1 and the family must not be empty, are {steps} and {len(family)}")
    if steps in family:
        return family[steps]
    below = max((known for known in family if known < steps), default=min(family))
    above = min((known for known in family if known > steps), default=max(family))
    if not below < steps < above:
        return resample(family[above if steps < below else below], steps)
    share = (np.log(steps) - np.log(below)) / (np.log(above) - np.log(below))
    curves = [resample(family[known], steps) for known in (below, above)]
    gaps = [np.log(-np.diff(curve)) for curve in curves]
    start = (1 - share) * np.log(curves[0][0]) + share * np.log(curves[1][0])
    return grid_of(np.exp((1 - share) * gaps[0] + share * gaps[1]), float(np.exp(start)))


def resample(sigmas: FloatArray, steps: int) -> FloatArray:
    """The same curve at another number of steps: its log-gaps, interpolated over the share of steps done.

    Returns:
        Noise levels from the same start to 0, shape (steps + 1,), float64.
    """
    known = (np.arange(len(sigmas) - 1) + 0.5) / (len(sigmas) - 1)
    wanted = (np.arange(steps) + 0.5) / steps
    gaps = np.exp(np.interp(wanted, known, np.log(-np.diff(sigmas))))
    return grid_of(gaps, float(sigmas[0]))


def grid_of(gaps: FloatArray, start: float) -> FloatArray:
    """Noise levels from `start` to 0 whose gaps are in proportion to the given ones."""
    levels = np.append(1.0, 1.0 - np.cumsum(gaps / gaps.sum()))
    levels[-1] = 0.0
    return np.asarray(start * levels)
