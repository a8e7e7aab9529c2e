"""What a family must offer: the parts of a model that the engine needs, free of schedulers and sampling loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Conditioning: TypeAlias = Any
"""One prompt as the network takes it; opaque to the engine, made by `encode` and given back to `denoise`."""


class Family(Protocol):
    """A model architecture behind one adapter."""

    device: torch.device

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Shape of one latent for a picture of this many pixels."""
        ...

    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        """One conditioning for each prompt."""
        ...

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Conditioning]) -> Tensor:
        """One evaluation.

        Args:
            x: scaled latents, shape (rows, ...), float32.
            t: the network's own time of each row, shape (rows,), float32.
            conditioning: one for each row.

        Returns:
            The network's output, shape of x, float32.
        """
        ...

    def combine(self, conditional: Tensor, unconditional: Tensor, guidance: Tensor) -> Tensor:
        """Guided output from two; guidance g of each row, shape (rows,), float32."""
        ...

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        """Latents (n, ...) to pixels (n, height, width, 3), uint8 sRGB."""
        ...


def classifier_free(conditional: Tensor, unconditional: Tensor, guidance: Tensor) -> Tensor:
    """Plain classifier-free guidance, u + g (c - u) (Ho and Salimans, arXiv 2207.12598)."""
    weight = guidance.reshape(-1, *(1,) * (conditional.ndim - 1))
    return unconditional + weight * (conditional - unconditional)
