"""Noise grids for flow models: pure functions from a step count to sigmas.

Each gives float64 sigmas of shape (steps + 1,), strictly falling, beginning at pure noise and ending in 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from schedules.beta_quantile import beta_quantile
from schedules.table import FloatArray

MAX_STEPS = 1000
STOCK_SIGMA_MIN = 1e-3
"""The last noise level but 0 of a stock flow-matching scheduler: one of 1000 training times."""


class GridError(ValueError):
    """A grid that cannot be; the message names the parameter."""


def uniform(steps: int) -> FloatArray:
    """Equal steps from 1 to 0."""
    _check_steps(steps)
    return np.linspace(1.0, 0.0, steps + 1)


def stock(steps: int) -> FloatArray:
    """What a stock flow-matching Euler scheduler does at shift 1: equal steps from 1 to 1/1000, then 0."""
    return _ended(np.linspace(1.0, STOCK_SIGMA_MIN, _checked(steps)))


def shifted(steps: int, shift: float) -> FloatArray:
    """The uniform grid under s -> k s / (1 + (k - 1) s), k > 0 (Esser et al. 2024, equation 23)."""
    if not (np.isfinite(shift) and shift > 0):
        raise GridError(f"shift: must be > 0, is {shift}")
    sigmas = uniform(steps)
    return shift * sigmas / (1.0 + (shift - 1.0) * sigmas)


def karras(steps: int, sigma_min: float = STOCK_SIGMA_MIN, sigma_max: float = 1.0, rho: float = 7.0) -> FloatArray:
    """Equal steps in sigma^(1/rho), then 0 (Karras et al. 2022, equation 5)."""
    _check_range(sigma_min, sigma_max)
    if not (np.isfinite(rho) and rho > 0):
        raise GridError(f"rho: must be > 0, is {rho}")
    return _ended(np.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), _checked(steps)) ** rho)


def exponential(steps: int, sigma_min: float = STOCK_SIGMA_MIN, sigma_max: float = 1.0) -> FloatArray:
    """Equal steps in log sigma, then 0."""
    _check_range(sigma_min, sigma_max)
    return _ended(np.exp(np.linspace(np.log(sigma_max), np.log(sigma_min), _checked(steps))))


def beta(
    steps: int,
    alpha: float = 0.6,
    beta: float = 0.6,
    sigma_min: float = STOCK_SIGMA_MIN,
    sigma_max: float = 1.0,
) -> FloatArray:
    """Quantiles of a Beta distribution, then 0 (Lee et al. 2024, "Beta Sampling is All You Need")."""
    _check_range(sigma_min, sigma_max)
    if not (alpha > 0 and beta > 0):
        raise GridError(f"alpha, beta: must be > 0, are {alpha}, {beta}")
    quantiles = beta_quantile(1.0 - np.linspace(0.0, 1.0, _checked(steps)), alpha, beta)
    return _ended(sigma_min + quantiles * (sigma_max - sigma_min))


def kl_optimal(steps: int, sigma_min: float = STOCK_SIGMA_MIN, sigma_max: float = 1.0) -> FloatArray:
    """Equal steps in arctan(sigma / (1 - sigma)), then 0 (Sabour et al. 2024, "Align Your Steps").

    Of all grids with these ends the one on which Euler's method (DDIM) comes nearest to Gaussian data of unit variance;
    the paper states it for the ratio of noise to data, which is sigma / (1 - sigma) in a flow.
    """
    _check_range(sigma_min, sigma_max)
    least, most = np.arctan2((sigma_min, sigma_max), (1.0 - sigma_min, 1.0 - sigma_max))
    angles = np.linspace(most, least, _checked(steps))
    return _ended(np.sin(angles) / (np.sin(angles) + np.cos(angles)))


def laplace(steps: int, location: float = 0.0, scale: float = 0.5, sigma_min: float = STOCK_SIGMA_MIN) -> FloatArray:
    """Quantiles of log(sigma / (1 - sigma)) under a Laplace law, then 0 (Hang et al. 2024).

    Samplers apply the paper's law of the log signal-to-noise ratio to the logarithm of the noise level; so does this.
    The law is cut off at sigma_min, where samplers clip its quantiles, so that no level repeats.
    """
    _check_range(sigma_min, 1.0)
    if not (np.isfinite(location) and np.isfinite(scale) and scale > 0):
        raise GridError(f"location, scale: must be finite, the scale > 0, are {location}, {scale}")
    distance = (np.log(sigma_min) - np.log1p(-sigma_min) - location) / scale
    least = 0.5 * np.exp(distance) if distance < 0 else 1.0 - 0.5 * np.exp(-distance)
    shares = np.linspace(1.0, least, _checked(steps))
    with np.errstate(divide="ignore"):  # pure noise is infinitely far away
        offsets = np.where(shares < 0.5, np.log(2.0 * shares), -np.log(2.0 * (1.0 - shares)))
    return _ended(1.0 / (1.0 + np.exp(-(location + scale * offsets))))


def linear_quadratic(steps: int, threshold: float = 0.025) -> FloatArray:
    """Half of the steps cover the first `threshold` of the noise evenly, the rest widen quadratically.

    The first half imitates the beginning of a uniform grid with very many steps; the quadratic half continues it with
    the same slope and ends in 0 (Polyak et al. 2024, "Movie Gen"; 0.025 as adopted by others).
    """
    if not 0 < threshold < 1 / 3:
        raise GridError(f"threshold: must be > 0 and < 1/3, is {threshold}")
    done = np.arange(_checked(steps) + 1.0)
    linear = steps // 2
    slope = threshold / linear if linear else 0.0
    beyond = np.maximum(done - linear, 0.0) / (steps - linear)
    sigmas = 1.0 - slope * done - (1.0 - slope * steps) * beyond**2
    sigmas[-1] = 0.0
    return np.asarray(sigmas)


GRIDS: Mapping[str, Callable[[int], FloatArray]] = MappingProxyType(
    {
        "uniform": uniform,
        "stock": stock,
        "shift2": partial(shifted, shift=2.0),
        "shift3": partial(shifted, shift=3.0),
        "shift5": partial(shifted, shift=5.0),
        "karras": karras,
        "exponential": exponential,
        "beta": beta,
        "kl-optimal": kl_optimal,
        "laplace": laplace,
        "linear-quadratic": linear_quadratic,
    }
)
"""The grids that are compared with as baselines, by name."""


def _check_steps(steps: int) -> None:
    if not 1 <= steps <= MAX_STEPS:
        raise GridError(f"steps: must be from 1 to {MAX_STEPS}, is {steps}")


def _checked(steps: int) -> int:
    _check_steps(steps)
    return steps


def _check_range(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max <= 1:
        raise GridError(f"sigma_min, sigma_max: must be 0 < sigma_min < sigma_max <= 1, are {sigma_min}, {sigma_max}")


def _ended(sigmas: FloatArray) -> FloatArray:
    return np.append(sigmas, 0.0)
