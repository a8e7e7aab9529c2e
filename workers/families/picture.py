"""What most families share: latents that are small pictures, plain guidance, and an autoencoder at the end."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DiffusionPipeline, ModelMixin
from jaxtyping import Float32, UInt8
from torch import Tensor

from workers.families.base import classifier_free
from workers.families.pixels import in_whole_levels, painted
from workers.families.reading import as_input, encoded
from workers.keeping import device_of


class PictureFamily:
    """An adapter's common part; what is missing is how a family encodes prompts and calls its network.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler and its loop are never used.
        network: its denoiser.
        scale_input: the option of its configuration by which it takes the guidance scale, if the adapter gives it that.

    Raises:
        ValueError: the network takes more channels than a latent has, as those for inpainting do, or the guidance
            scale as an input that the adapter does not give.
    """

    def __init__(self, pipeline: DiffusionPipeline, network: ModelMixin, scale_input: str | None = None) -> None:
        self._pipeline = pipeline
        self._network = network.eval()
        self.device = device_of(pipeline)
        self._dtype: torch.dtype = self._network.dtype
        self._channels = int(pipeline.vae.config.latent_channels)
        taken = self._network.config.in_channels
        if taken != self._channels:
            raise ValueError(f"the network takes {taken} channels and a latent has {self._channels}: not text to image")
        for option in ("time_cond_proj_dim", "guidance_embeds"):
            if option != scale_input and self._network.config.get(option):
                raise ValueError(f"the network takes the guidance scale as an input ({option}), which is not served")

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Channels, rows and columns of a latent."""
        factor = self._pipeline.vae_scale_factor
        return self._channels, height // factor, width // factor

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """Plain classifier-free guidance."""
        return classifier_free(conditional, unconditional, guidance)

    @torch.inference_mode()
    def encode_image(
        self, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
    ) -> Float32[Tensor, "channels rows columns"]:
        """Run the autoencoder, and normalise its latents."""
        vae = self._pipeline.vae
        return self._scaled(encoded(vae, as_input(pixels, vae), generator))[0]

    def paint(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n 3 height width"]:
        """Undo the latents' normalisation and run the autoencoder."""
        vae = self._pipeline.vae
        with torch.inference_mode(not x.requires_grad):
            return painted(self._pipeline, vae.decode(self._unscaled(x).to(vae.dtype), return_dict=False)[0])

    def decode(self, x: Float32[Tensor, "n channels rows columns"]) -> UInt8[np.ndarray, "n height width 3"]:
        """The same in whole levels."""
        return in_whole_levels(self.paint(x))

    def _unscaled(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n channels rows columns"]:
        """Latents as the autoencoder made them: one scale for all, whatever else its configuration has, as in stock."""
        unscaled: Tensor = x / self._pipeline.vae.config.scaling_factor
        return unscaled

    def _scaled(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n channels rows columns"]:
        """The inverse."""
        scaled: Tensor = x * self._pipeline.vae.config.scaling_factor
        return scaled
