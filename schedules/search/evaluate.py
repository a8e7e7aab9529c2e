"""Figures: errors against the teacher at equal seed, and their bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import binom
from torch import Tensor

from schedules.evidence import Figure
from schedules.table import FloatArray

_RESAMPLES = 2000
_TINY = 1e-12

ROUNDING = 1 / 12
"""Mean squared error of rounding to whole levels; errors between 8-bit pictures below it mean nothing."""


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Latent mean squared errors of a batch of seeds."""

    mean: float
    median: float
    p90: float


def seed_errors(x: Tensor, reference: Tensor) -> FloatArray:
    """Mean squared error of each seed, shape (M,), float64.

    Args:
        x: samples, shape (M, *latent).
        reference: the teacher's, of the same shape.
    """
    return np.asarray((x.double() - reference.double()).square().flatten(1).mean(1).cpu().numpy())


def summarise(errors: FloatArray) -> ErrorSummary:
    """Mean, median and 90th percentile of per-seed errors."""
    return ErrorSummary(float(errors.mean()), float(np.median(errors)), float(np.quantile(errors, 0.9)))


def psnr_db(pixels: NDArray[np.uint8], reference: NDArray[np.uint8]) -> FloatArray:
    """Peak signal to noise of each picture in dB, shape (M,), float64; at most 58.9, which is rounding's own.

    Args:
        pixels: pictures, shape (M, height, width, 3), uint8.
        reference: the teacher's pictures.
    """
    errors = np.square(pixels.astype(np.float64) - reference).reshape(len(pixels), -1).mean(1)
    return np.asarray(10 * np.log10(255**2 / np.maximum(errors, ROUNDING)))


def ssim(pictures: FloatArray, reference: FloatArray) -> FloatArray:
    """Structural similarity of each picture, shape (M,), at most 1 (Wang et al., 2004; Gaussian window of sigma 1.5).

    Args:
        pictures: shape (M, height, width, channels), in 0..255.
        reference: the teacher's pictures, of the same shape.
    """
    sigma, c1, c2 = (0, 1.5, 1.5, 0), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    x, y = pictures.astype(np.float64), reference.astype(np.float64)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(gaussian_filter(values, sigma, truncate=3.5))

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y, covariance = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2, mean(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    everything = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return np.asarray((alike / everything).reshape(len(x), -1).mean(1))


def bootstrap(values: FloatArray, *, seed: int = 0) -> Figure:
    """The mean with its 95 % percentile bootstrap interval over seeds (Efron, 1979)."""
    draws = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(1), (0.025, 0.975))
    mean = float(values.mean())
    return Figure(mean=mean, low=min(float(low), mean), high=max(float(high), mean))


def tolerance_limit(values: FloatArray, share: float, *, confidence: float = 0.95) -> float | None:
    """What this share of the population reaches, with this confidence, whatever its distribution (Wilks, 1941).

    An order statistic of the sample: the largest that lies below the quantile with that confidence. None where the
    sample is too small for any to (less than 149 for 98 of 100).

    Args:
        values: shape (M,).
        share: of the population, above 0 and below 1.
        confidence: likewise.
    """
    below = int(binom.ppf(1 - confidence, len(values), 1 - share))
    return float(np.sort(values)[below - 1]) if below else None


def bootstrap_ratio(values: FloatArray, reference: FloatArray, *, seed: int = 0) -> Figure:
    """The ratio of two means over the same seeds, with its 95 % percentile bootstrap interval over pairs.

    Where no pair differs, resampling knows of none that could: the interval then allows for as large a share of them as
    could have gone unseen (Clopper and Pearson, 1934).

    Args:
        values: shape (M,).
        reference: of the same seeds, shape (M,), with a mean above 0.
        seed: of the resampling.
    """
    if np.array_equal(values, reference):
        unseen = 1 - 0.025 ** (1 / len(values))
        return Figure(mean=1.0, low=1 - unseen, high=1 + unseen)
    draws = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    draws = draws[reference[draws].mean(1) > 0]  # a sample of nothing but zeros has no ratio
    low, high = np.quantile(values[draws].mean(1) / reference[draws].mean(1), (0.025, 0.975))
    ratio = float(values.mean() / reference.mean())
    return Figure(mean=ratio, low=min(float(low), ratio), high=max(float(high), ratio))


def pool(errors: Tensor, *, log: bool = False, floor: float = _TINY) -> Tensor:
    """Pool per-seed errors over their last axis.

    Args:
        errors: mean squared errors, shape (..., M).
        log: the geometric mean instead of the mean; ranks by mean PSNR, so that a few seeds that flip to another
            picture do not decide everything.
        floor: what smaller errors count as under the logarithm, > 0.
    """
    return (errors.clamp_min(floor).log().mean(-1)).exp() if log else errors.mean(-1)


def pooled_error(x: Tensor, reference: Tensor, *, log: bool = False, floor: float = _TINY) -> float:
    """The pooled final error of a batch against its teacher."""
    return float(pool(torch.from_numpy(seed_errors(x, reference)), log=log, floor=floor))
