"""An epsilon, v or sample network as the velocity of a flow, so that every search works on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from schedules.coordinates import view
from schedules.noise import TRAIN_TIMES, NoiseSchedule
from schedules.search.problem import Field
from schedules.table import FloatArray, Prediction


@dataclass(frozen=True, eq=False)
class VelocityOf:
    """A variance-preserving network seen as a flow; schedules.coordinates turns what is found back into its tables.

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
        levels = (t.double() / TRAIN_TIMES).clamp(0, 1).cpu().numpy()
        seen = view(levels, self.prediction, self.noise)

        def broadcast(values: FloatArray) -> Tensor:
            return torch.from_numpy(values).to(x).reshape(-1, *(1,) * (x.ndim - 1))

        z = broadcast(seen.scale) * x
        output = self.network(z, torch.from_numpy(seen.times).to(x), rows)
        return broadcast(seen.of_input) * z + broadcast(seen.of_output) * output
