"""Z-Image and Z-Image-Turbo, and whatever else is saved as a ZImagePipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import ZImagePipeline
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from workers.families.base import classifier_free
from workers.families.patches import latent_sides
from workers.families.pixels import in_whole_levels, paint_scaled
from workers.families.reading import read_scaled
from workers.keeping import device_of

ZImageText = Float[Tensor, "_ features"]
"""A prompt for the transformer: its token states, as many as it has."""


class ZImageFamily:
    """The adapter; the transformer itself pads and masks prompts of different length.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler and its loop are never used.
    """

    def __init__(self, pipeline: ZImagePipeline) -> None:
        self._pipeline = pipeline
        self._transformer = pipeline.transformer.eval()
        self.device = device_of(pipeline)
        self._dtype: torch.dtype = self._transformer.dtype

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Channels, rows and columns of a latent."""
        return int(self._transformer.in_channels), *latent_sides(width, height, self._pipeline.vae_scale_factor)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[ZImageText]:  # noqa: ARG002  alike here
        """Run the language model over all prompts at once; each result is as long as its prompt."""
        texts, _ = self._pipeline.encode_prompt(
            prompt=list(prompts), device=self.device, do_classifier_free_guidance=False
        )
        return [text.to(self._dtype) for text in texts]

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[ZImageText],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The velocity at each row's own time; carries gradients if the samples or the times do.

        The network's clock runs from noise, 0, to picture, 1, and so does its velocity: both are turned here.
        """
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)):
            films = list(x.to(self._dtype).unsqueeze(2))
            velocities = self._transformer(films, (1000 - t) / 1000, list(conditioning), return_dict=False)[0]
            return -torch.stack(velocities).squeeze(2).float()

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """Plain classifier-free guidance; the stock pipeline's scale s is g = 1 + s here."""
        return classifier_free(conditional, unconditional, guidance)

    @torch.inference_mode()
    def encode_image(
        self, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
    ) -> Float32[Tensor, "channels rows columns"]:
        """Run the autoencoder, and normalise its latents."""
        return read_scaled(self._pipeline, pixels, generator)

    def paint(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n 3 height width"]:
        """Undo the latents' normalisation and run the autoencoder."""
        with torch.inference_mode(not x.requires_grad):
            return paint_scaled(self._pipeline, x)

    def decode(self, x: Float32[Tensor, "n channels rows columns"]) -> UInt8[np.ndarray, "n height width 3"]:
        """The same in whole levels."""
        return in_whole_levels(self.paint(x))
