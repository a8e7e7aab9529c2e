"""Noise schedules: what a sigma means to a network.

The state of a sampler is x = alpha x0 + sigma n. Flow models live on alpha = 1 - sigma; epsilon and v models in
variance-exploding coordinates, alpha = 1 and sigma = sqrt((1 - abar) / abar), so that the network, which was trained on
sqrt(abar) x0 + sqrt(1 - abar) n, must be fed c x with c = 1 / sqrt(1 + sigma^2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from schedules.table import FloatArray

TRAIN_TIMES = 1000
_PURE_NOISE = 1e-6
_ALMOST_ZERO_SNR = 2.0**-24  # abar that stands for 0, so that the largest sigma is 4096 and not endless
_SLACK = 1e-4  # stock grids begin at a sigma_max that was rounded to float32, or taken from a float32 product


class NoiseError(ValueError):
    """Noise levels or a noise schedule that cannot be; the message names the field."""


class NoiseSchedule(ABC):
    """Maps sigma to the network's time, the clean image's scale and the input scale. Immutable."""

    kind: Literal["flow", "vp"]

    @property
    @abstractmethod
    def sigma_max(self) -> float:
        """The largest sigma that the network knows."""

    @abstractmethod
    def time(self, sigmas: FloatArray) -> FloatArray:
        """The network's own time, 0 to 1000, float64, same shape.

        Raises:
            NoiseError: a sigma is outside the model's range.
        """

    @abstractmethod
    def alpha(self, sigmas: FloatArray) -> FloatArray:
        """The scale of the clean image in the state, float64, same shape."""

    @abstractmethod
    def input_scale(self, sigmas: FloatArray) -> FloatArray:
        """What the state is multiplied by before it goes into the network, float64, same shape."""

    def log_snr(self, sigmas: FloatArray) -> FloatArray:
        """Half the log signal-to-noise ratio, log(alpha / sigma); inf at sigma 0."""
        with np.errstate(divide="ignore"):
            difference: FloatArray = np.log(self.alpha(sigmas)) - np.log(sigmas)
        return difference

    def _check(self, sigmas: FloatArray) -> None:
        outside = (sigmas < 0) | (sigmas > self.sigma_max * (1 + _SLACK)) | ~np.isfinite(sigmas)
        if outside.any():
            raise NoiseError(f"sigmas: must be from 0 to {self.sigma_max:.6g}, has {float(sigmas[outside][0]):.6g}")


@dataclass(frozen=True, slots=True)
class Flow(NoiseSchedule):
    """Rectified flow: x = (1 - sigma) x0 + sigma n, t = 1000 sigma (Lipman et al. 2022, Liu et al. 2022)."""

    kind = "flow"

    @property
    def sigma_max(self) -> float:
        """Pure noise is sigma 1."""
        return 1.0

    def time(self, sigmas: FloatArray) -> FloatArray:
        """The network's own time, 1000 sigma."""
        self._check(sigmas)
        return TRAIN_TIMES * sigmas

    def alpha(self, sigmas: FloatArray) -> FloatArray:
        """1 - sigma."""
        return 1.0 - sigmas

    def input_scale(self, sigmas: FloatArray) -> FloatArray:
        """1: the network takes the state as it is."""
        return np.ones_like(sigmas)

    def log_snr(self, sigmas: FloatArray) -> FloatArray:
        """log((1 - sigma) / sigma), at pure noise that of sigma 1 - 1e-6: else the first step would be endless.

        Multistep solvers feel the choice, since the first slope is divided by the first step; stock UniPC takes 1e-6.
        """
        with np.errstate(divide="ignore"):
            difference: FloatArray = np.log(np.maximum(1.0 - sigmas, _PURE_NOISE)) - np.log(sigmas)
        return difference


@dataclass(frozen=True, slots=True, eq=False)
class VariancePreserving(NoiseSchedule):
    """A model trained on sqrt(abar) x0 + sqrt(1 - abar) n at integer times (Ho et al. 2020).

    Attributes:
        log_sigmas: log sqrt((1 - abar) / abar) of each training time, rising, shape (T,), float64.
    """

    log_sigmas: FloatArray
    kind = "vp"

    @property
    def sigma_max(self) -> float:
        """Sigma of the last training time."""
        return float(np.exp(self.log_sigmas[-1]))

    def time(self, sigmas: FloatArray) -> FloatArray:
        """The network's own time, by linear interpolation in log sigma; 0 below the least sigma it was trained on."""
        self._check(sigmas)
        with np.errstate(divide="ignore"):
            return np.interp(np.log(sigmas), self.log_sigmas, np.arange(self.log_sigmas.size, dtype=np.float64))

    def sigma(self, times: FloatArray) -> FloatArray:
        """The sigma of the network's times, 0 to T - 1, by linear interpolation of log sigma; the inverse of `time`."""
        training = np.arange(self.log_sigmas.size, dtype=np.float64)
        sigmas: FloatArray = np.exp(np.interp(times, training, self.log_sigmas))
        return sigmas

    def alpha(self, sigmas: FloatArray) -> FloatArray:
        """1: the state is in variance-exploding coordinates."""
        return np.ones_like(sigmas)

    def input_scale(self, sigmas: FloatArray) -> FloatArray:
        """1 / sqrt(1 + sigma^2)."""
        return 1.0 / np.sqrt(1.0 + sigmas**2)


FLOW = Flow()


def vp(alphas_cumprod: FloatArray) -> VariancePreserving:
    """The noise schedule of a variance-preserving model.

    Args:
        alphas_cumprod: abar at each training time, shape (T,), strictly falling, inside (0, 1).

    Raises:
        NoiseError: abar is not that.
    """
    abar = np.array(alphas_cumprod, dtype=np.float64)
    if abar.ndim != 1 or abar.size < 2:
        raise NoiseError(f"alphas_cumprod: must have shape (T,) with T >= 2, has {abar.shape}")
    if not ((abar > 0) & (abar < 1)).all() or (np.diff(abar) >= 0).any():
        raise NoiseError("alphas_cumprod: must fall strictly inside (0, 1)")
    log_sigmas = 0.5 * (np.log1p(-abar) - np.log(abar))
    log_sigmas.setflags(write=False)
    return VariancePreserving(log_sigmas)


def vp_of_betas(
    kind: Literal["linear", "scaled_linear"],
    beta_start: float,
    beta_end: float,
    train_times: int = TRAIN_TIMES,
    *,
    zero_terminal_snr: bool = False,
) -> VariancePreserving:
    """The noise schedule of a line of betas, or of a line of their square roots (latent diffusion).

    Args:
        kind: which of the two.
        beta_start: beta of the first training time, in (0, 1).
        beta_end: beta of the last training time, >= beta_start, in (0, 1).
        train_times: how many there are, >= 2.
        zero_terminal_snr: whether the betas were rescaled so that the last time is pure noise (Lin et al. 2023,
            arXiv 2305.08891, algorithm 1); its sigma is then 4096, as stock schedulers have it.

    Raises:
        NoiseError: the betas are not that.
    """
    if not 0 < beta_start <= beta_end < 1:
        raise NoiseError(f"beta_start, beta_end: must be 0 < start <= end < 1, are {beta_start}, {beta_end}")
    power = 2 if kind == "scaled_linear" else 1
    betas: FloatArray = np.linspace(beta_start ** (1 / power), beta_end ** (1 / power), train_times) ** power
    abar: FloatArray = np.cumprod(1.0 - betas, dtype=np.float64)
    return vp(_to_zero_snr(abar) if zero_terminal_snr else abar)


def _to_zero_snr(abar: FloatArray) -> FloatArray:
    """Shift and scale sqrt(abar) so that it ends in 0 and begins where it did."""
    roots = np.sqrt(abar)
    rescaled: FloatArray = ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2
    rescaled[-1] = _ALMOST_ZERO_SNR
    return rescaled
