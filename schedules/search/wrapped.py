"""An epsilon, v or sample network as the velocity of a flow, so that every search works on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schedules.coordinates import view
from schedules.noise import TRAIN_TIMES, NoiseSchedule
from schedules.search.problem import Field
from schedules.table import FloatArray, Prediction

_NUDGE = 1e-6
"""Between the levels of a central difference, half of it."""


@dataclass(frozen=True, eq=False)
class VelocityOf:
    """A variance-preserving network seen as a flow; schedules.coordinates turns what is found back into its tables.

    Differentiable in states and times, as far as the network is.

    Attributes:
        network: takes inputs of unit variance and its own times.
        prediction: what its output stands for.
        noise: how it was trained.
    """

    network: Field
    prediction: Prediction
    noise: NoiseSchedule

    def __call__(self, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        """The velocity.

        Args:
            x: states in flow coordinates, shape (B, *latent), float32.
            t: 1000 s, shape (B,), float32.
            rows: which seed each belongs to, shape (B,), int64.
        """
        seen: Tensor = _Seen.apply(t.double() / TRAIN_TIMES, self.prediction, self.noise)  # type: ignore[no-untyped-call]
        times, weights = seen[0].to(x), seen[1:].to(x).reshape(3, -1, *(1,) * (x.ndim - 1))
        z = weights[0] * x
        return weights[1] * z + weights[2] * self.network(z, times, rows)


class _Seen(torch.autograd.Function):
    """The network's times and the three weights of the view at flow levels, shape (4, B), float64, with derivatives.

    The map from level to time is a table of the model's; its derivative is taken by central differences.
    """

    @staticmethod
    def forward(ctx: Any, levels: Tensor, prediction: Prediction, noise: NoiseSchedule) -> Tensor:
        ctx.seen = partial(_numbers, prediction=prediction, noise=noise)
        ctx.save_for_backward(levels)
        return torch.from_numpy(ctx.seen(levels.detach().cpu().numpy())).to(levels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (levels,), (gradient,) = ctx.saved_tensors, gradients
        at = levels.detach().cpu().numpy()
        low, high = np.clip(at - _NUDGE, _NUDGE, 1), np.clip(at + _NUDGE, 0, 1)
        slope = (ctx.seen(high) - ctx.seen(low)) / (high - low)
        return (gradient * torch.from_numpy(slope).to(levels)).sum(0), None, None


def _numbers(levels: FloatArray, prediction: Prediction, noise: NoiseSchedule) -> FloatArray:
    seen = view(np.clip(levels, 0, 1), prediction, noise)
    return np.stack([seen.times, seen.scale, seen.of_input, seen.of_output])
