"""Latents to pictures, a slice of a batch at a time; what cannot be decoded fails alone."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workers.device import is_lost
from workers.families.base import Family

SLICE = 4
"""Most latents decoded at a time: a decoder's activations are large, and prompts should not wait for long."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pictures of a slice, each its pixels, None where its latent was not finite, or what the decoder raised.

    Attributes:
        pictures: one for each latent; pixels are uint8 of shape (height, width, 3).
        started_s: when it began, on the monotonic clock.
        seconds: how long each picture took.
    """

    pictures: tuple[NDArray[np.uint8] | Exception | None, ...]
    started_s: float
    seconds: float


def decode(family: Family, latents: Tensor) -> Decoded:
    """Decode together; where that raises, each alone, so that only the guilty fail.

    Raises:
        Exception: what is no one latent's own, the device's loss.
    """
    started = time.monotonic()
    finite = latents.isfinite().flatten(1).all(1).tolist()
    pictures = tuple(
        picture if good or isinstance(picture, Exception) else None
        for good, picture in zip(finite, _pictures(family, latents), strict=True)
    )
    return Decoded(pictures, started, (time.monotonic() - started) / len(latents))


def _pictures(family: Family, latents: Tensor) -> list[NDArray[np.uint8] | Exception]:
    try:
        return list(family.decode(latents))
    except Exception as error:
        if is_lost(error):
            raise
        if len(latents) == 1:
            return [error]
    return [picture for latent in latents.split(1) for picture in _pictures(family, latent)]
