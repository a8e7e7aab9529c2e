"""What a family must offer: the parts of a model that the engine needs, free of schedulers and sampling loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

Conditioning: TypeAlias = Any
"""One prompt as the network takes it; opaque to the engine, made by `encode` and given back to `denoise`."""


class PictureError(ValueError):
    """A picture that cannot be drawn from; the message names the field."""


@runtime_checkable
class Family(Protocol):
    """A model architecture behind one adapter."""

    device: torch.device

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Shape of one latent for a picture of this many pixels."""
        ...

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Conditioning]:
        """One conditioning for each prompt.

        Args:
            prompts: what to encode; an empty negative one stands for none.
            negative: whether these are the negative prompts of guidance, which some pipelines encode in another way.
        """
        ...

    def denoise(
        self, x: Float32[Tensor, "rows *latent"], t: Float32[Tensor, "rows"], conditioning: Sequence[Conditioning]
    ) -> Float32[Tensor, "rows *latent"]:
        """One evaluation.

        Args:
            x: scaled latents.
            t: the network's own time of each row.
            conditioning: one for each row.
        """
        ...

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """Guided output from two, with the guidance weight g of each row."""
        ...

    def decode(self, x: Float32[Tensor, "n *latent"]) -> UInt8[np.ndarray, "n height width 3"]:
        """Latents to pixels, 8-bit sRGB."""
        ...


@runtime_checkable
class Painter(Protocol):
    """A family that also gives its pictures before they are rounded, which schedules can be searched on."""

    def paint(self, x: Float32[Tensor, "n *latent"]) -> Float32[Tensor, "n 3 height width"]:
        """Latents to pictures, sRGB from 0 to 255, on the latents' device."""
        ...


@runtime_checkable
class ReadsPictures(Protocol):
    """A family that also takes a picture to start from."""

    def encode_image(
        self, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
    ) -> Float32[Tensor, "*latent"]:
        """Pixels, 8-bit sRGB, to a latent, normalised, on the family's device.

        Args:
            pixels: of one picture.
            generator: draws from the autoencoder's distribution where the stock pipelines do.
        """
        ...


def encode_image(
    family: object, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
) -> Float32[Tensor, "*latent"]:
    """As the family does.

    Raises:
        PictureError: it takes no pictures.
    """
    if not isinstance(family, ReadsPictures):
        raise PictureError("image: this model draws from text alone")
    return family.encode_image(pixels, generator)


@runtime_checkable
class EmbedsGuidance(Protocol):
    """A conditioning that may carry the guidance scale into the network, at the price of no extra evaluation."""

    @property
    def guidance(self) -> float | None:
        """The scale that the network is given; None where this model's network takes none."""
        ...

    def with_guidance(self, scale: float) -> Conditioning:
        """The same prompt with another scale; shares its tensors."""
        ...


def hand_over_guidance(
    conditioning: Sequence[Conditioning], guidance_scale: float, true_cfg_scale: float = 1.0
) -> tuple[list[Conditioning], float]:
    """Where the caller's guidance scale goes: into the network if it takes one, into two outputs' difference if not.

    Args:
        conditioning: a request's prompt and negative prompt, as `encode` made them.
        guidance_scale: the caller's.
        true_cfg_scale: of classifier-free guidance on top of an embedded scale; 1 for none.

    Returns:
        The conditioning, with the scale in it if the network takes it, and the scale left for classifier-free guidance.
    """
    if all(isinstance(text, EmbedsGuidance) and text.guidance is not None for text in conditioning):
        return [text.with_guidance(guidance_scale) for text in conditioning], true_cfg_scale
    return list(conditioning), guidance_scale


def classifier_free(
    conditional: Float32[Tensor, "rows *latent"],
    unconditional: Float32[Tensor, "rows *latent"],
    guidance: Float32[Tensor, "rows"],
) -> Float32[Tensor, "rows *latent"]:
    """Plain classifier-free guidance, u + g (c - u) (Ho and Salimans, arXiv 2207.12598)."""
    weight = guidance.reshape(-1, *(1,) * (conditional.ndim - 1))
    return unconditional + weight * (conditional - unconditional)
