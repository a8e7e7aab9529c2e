"""Noise grids for epsilon and v models: pure functions from a step count and the training's noise to sigmas.

Each gives float64 sigmas of shape (steps + 1,), strictly falling, beginning at the largest sigma that the network knows
(trailing and linspace: the last training time's) and ending in 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from schedules.grids import GridError
from schedules.noise import VariancePreserving
from schedules.table import FloatArray

_LCM_TIMES = 50


def linspace(steps: int, noise: VariancePreserving) -> FloatArray:
    """Equal steps in the network's time from the last training time to the first, then 0."""
    last = noise.log_sigmas.size - 1.0
    return _at_times(np.linspace(last, 0.0, _checked(steps, noise)), noise)


def trailing(steps: int, noise: VariancePreserving) -> FloatArray:
    """Every (T / steps)-th training time counted from the last (Lin et al. 2023, arXiv 2305.08891, table 2)."""
    count = noise.log_sigmas.size
    times = np.round(count - np.arange(_checked(steps, noise)) * (count / steps)) - 1
    return _at_times(times, noise)


def lcm(steps: int, noise: VariancePreserving) -> FloatArray:
    """Of the 50 trailing times at which latent consistency models are distilled, about evenly (arXiv 2310.04378).

    Beyond 50 steps, trailing.
    """
    count = noise.log_sigmas.size
    if not _checked(steps, noise) <= _LCM_TIMES <= count:
        return trailing(steps, noise)
    chosen = np.floor(np.linspace(0, _LCM_TIMES, steps, endpoint=False)).astype(int)
    return np.append(trailing(_LCM_TIMES, noise)[chosen], 0.0)


def karras(steps: int, noise: VariancePreserving, rho: float = 7.0) -> FloatArray:
    """Equal steps in sigma^(1/rho), then 0 (Karras et al. 2022, equation 5)."""
    least, most = np.exp(noise.log_sigmas[[0, -1]])
    return np.append(np.linspace(most ** (1 / rho), least ** (1 / rho), _checked(steps, noise)) ** rho, 0.0)


def exponential(steps: int, noise: VariancePreserving) -> FloatArray:
    """Equal steps in log sigma, then 0."""
    least, most = noise.log_sigmas[[0, -1]]
    return np.append(np.exp(np.linspace(most, least, _checked(steps, noise))), 0.0)


VP_GRIDS: Mapping[str, Callable[[int, VariancePreserving], FloatArray]] = MappingProxyType(
    {"karras": karras, "trailing": trailing, "linspace": linspace, "exponential": exponential}
)
"""The grids of epsilon and v models, by name."""

DISTILLED_GRIDS: Mapping[str, Callable[[int, VariancePreserving], FloatArray]] = MappingProxyType({"lcm": lcm})
"""Those of models that were distilled at a few times; found by their names too, but no baseline of a search."""


def _at_times(times: FloatArray, noise: VariancePreserving) -> FloatArray:
    return np.append(noise.sigma(times), 0.0)


def _checked(steps: int, noise: VariancePreserving) -> int:
    if not 1 <= steps <= noise.log_sigmas.size:
        raise GridError(f"steps: must be from 1 to {noise.log_sigmas.size}, is {steps}")
    return steps
