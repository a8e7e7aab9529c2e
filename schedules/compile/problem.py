"""What all compilers share: the state and the network's outputs as rows over the history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schedules.noise import NoiseError, NoiseSchedule
from schedules.table import FloatArray, Prediction

_NOISE_KINDS: dict[Prediction, tuple[str, ...]] = {
    "flow": ("flow",),
    "epsilon": ("vp",),
    "v_prediction": ("vp",),
    "sample": ("flow", "vp"),
}
_FEW_STEPS = 15


class CompileError(ValueError):
    """A solver, grid or prediction that cannot be compiled; the message names which."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A grid and what the network predicts on it.

    Attributes:
        sigmas: the noise level of each evaluation, and that of the result, shape (steps + 1,), float64.
        prediction: what the network's output stands for.
        noise: what a sigma means to the network.
        blends: whether something may be added to the state before each evaluation but the first, as inpainting does.
        draws: whether fresh noise is added there, in proportion to the noise level, as consistency models do.

    A row stands for a vector in the span of the history [starting noise, y_0, ..., y_{steps-1}], shape (1 + steps,),
    followed by what was added before evaluations 1 to steps - 1 where the problem has blends or draws.
    """

    sigmas: FloatArray
    prediction: Prediction
    noise: NoiseSchedule
    blends: bool = False
    draws: bool = False

    @classmethod
    def of(cls, sigmas: FloatArray, prediction: Prediction, noise: NoiseSchedule) -> Problem:
        """Check and pack.

        Raises:
            CompileError: names the argument.
        """
        sigmas = np.array(sigmas, dtype=np.float64)
        if sigmas.ndim != 1 or sigmas.size < 2:
            raise CompileError(f"sigmas: must have shape (steps + 1,) with steps >= 1, has {sigmas.shape}")
        if not np.isfinite(sigmas).all():
            raise CompileError("sigmas: must be finite")
        if (np.diff(sigmas) >= 0).any() or sigmas[-1] < 0:
            raise CompileError("sigmas: must fall strictly, the last >= 0")
        if noise.kind not in _NOISE_KINDS.get(prediction, ()):
            raise CompileError(f"prediction: {prediction!r} does not go with the noise schedule {noise.kind!r}")
        try:
            noise.time(sigmas)
        except NoiseError as error:
            raise CompileError(str(error)) from error
        return cls(sigmas, prediction, noise)

    @property
    def steps(self) -> int:
        """How many evaluations there are: one for each step of the grid, save for solvers that lay out their own."""
        return self.sigmas.size - 1

    def usable_order(self, k: int, order: int) -> int:
        """The order of step k of a multistep solver: what the past allows, 1 on the endless step to sigma 0.

        Below 15 steps the last steps fall back to lower orders too, as released solvers do for stability.
        """
        if self.sigmas[k + 1] == 0:
            return 1
        ahead = self.steps - k if self.steps < _FEW_STEPS else order
        return min(order, k + 1, ahead)

    def start(self, *, unit_variance: bool) -> FloatArray:
        """An empty X with its first row, the starting noise, filled in; steps + 1 rows.

        Args:
            unit_variance: whether a variance-preserving sampler takes the noise for the whole state, as DDIM and the
                exponential integrators do, or only for its noisy part, as the samplers of Karras et al. do.
        """
        rows = np.zeros((self.steps + 1, self._width))
        first = self.sigmas[0]
        scale = 1.0 if self.noise.kind == "flow" else np.sqrt(1.0 + first**2) if unit_variance else first
        rows[0, 0] = scale
        return rows

    def reached(self, k: int, state: FloatArray) -> FloatArray:
        """The state before evaluation k as the network and all later steps see it: with what is added to it there."""
        if not (self._added and k < self.steps):
            return state
        seen = state.copy()
        seen[self.steps + k] += self.sigmas[k] if self.draws else 1.0
        return seen

    def clean(self, k: int, state: FloatArray) -> FloatArray:
        """The predicted clean image x0 at evaluation k, as a row; the network saw `state`."""
        sigma = self.sigmas[k]
        output = self._output(k)
        if self.prediction == "sample":
            return output
        clean: FloatArray = state - sigma * output
        if self.prediction == "v_prediction":  # c^2 x - sigma c v, Salimans and Ho 2022, appendix D
            clean = state / (1.0 + sigma**2) - sigma / np.sqrt(1.0 + sigma**2) * output
        return clean

    def epsilon(self, k: int, state: FloatArray) -> FloatArray:
        """The predicted noise at evaluation k, as a row; the network saw `state`."""
        alpha = self.noise.alpha(self.sigmas[k : k + 1])
        noise: FloatArray = (state - alpha * self.clean(k, state)) / self.sigmas[k]
        return noise

    def derivative(self, k: int, state: FloatArray) -> FloatArray:
        """dx/dsigma at evaluation k, as a row; the network saw `state`."""
        if self.prediction in ("flow", "epsilon"):
            return self._output(k)
        slope: FloatArray = (state - self.clean(k, state)) / self.sigmas[k]
        return slope

    @property
    def _width(self) -> int:
        return 1 + self.steps + (self.steps - 1 if self._added else 0)

    @property
    def _added(self) -> bool:
        return self.blends or self.draws

    def _output(self, k: int) -> FloatArray:
        row = np.zeros(self._width)
        row[1 + k] = 1.0
        return row
