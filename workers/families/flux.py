"""FLUX.1 (dev, schnell and their finetunes), and whatever else is saved as a FluxPipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import FluxPipeline
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from workers.families.base import classifier_free
from workers.families.exact_time import ExactTime
from workers.families.patches import from_patches, latent_sides, to_patches
from workers.families.pixels import in_whole_levels, paint_scaled
from workers.families.reading import read_scaled
from workers.keeping import device_of

STOCK_GUIDANCE = 3.5
"""The scale that the stock pipeline embeds by default."""


@dataclass(frozen=True, slots=True)
class FluxText:
    """A prompt for the transformer.

    Attributes:
        tokens: T5 states, padding included, as the network was trained.
        pooled: CLIP's pooled vector.
        guidance: the scale that the network embeds; None where it takes none.
    """

    tokens: Float[Tensor, "tokens width"]
    pooled: Float[Tensor, "pooled"]
    guidance: float | None

    def with_guidance(self, scale: float) -> FluxText:
        """The same prompt with another scale."""
        return replace(self, guidance=scale)


class FluxFamily:
    """The adapter; latents are spatial and become tokens inside `denoise`.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler and its loop are never used.
    """

    def __init__(self, pipeline: FluxPipeline) -> None:
        self._pipeline = pipeline
        self._transformer = pipeline.transformer.eval()
        self._time = ExactTime(self._transformer.time_text_embed)
        self.device = device_of(pipeline)
        self._dtype: torch.dtype = self._transformer.dtype
        self._stock_guidance = STOCK_GUIDANCE if self._transformer.config.guidance_embeds else None

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Channels, rows and columns of a latent."""
        channels = int(self._transformer.config.in_channels) // 4
        return channels, *latent_sides(width, height, self._pipeline.vae_scale_factor)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[FluxText]:  # noqa: ARG002  alike here
        """Run both text encoders over all prompts at once."""
        tokens, pooled, _ = self._pipeline.encode_prompt(prompt=list(prompts), device=self.device)
        return [
            FluxText(*pair, self._stock_guidance)
            for pair in zip(tokens.to(self._dtype), pooled.to(self._dtype), strict=True)
        ]

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[FluxText],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The velocity at each row's own time; carries gradients if the samples or the times do."""
        height, width = x.shape[2:]
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)), self._time.of(t):
            tokens: Tensor = self._transformer(
                hidden_states=to_patches(x.to(self._dtype)),
                timestep=t / 1000,
                guidance=self._guidance(conditioning),
                pooled_projections=torch.stack([text.pooled for text in conditioning]),
                encoder_hidden_states=torch.stack([text.tokens for text in conditioning]),
                txt_ids=torch.zeros(len(conditioning[0].tokens), 3, device=self.device),
                img_ids=self._places(height, width),
                return_dict=False,
            )[0]
            return from_patches(tokens, height, width).float()

    def _guidance(self, conditioning: Sequence[FluxText]) -> Float32[Tensor, "rows"] | None:
        if self._stock_guidance is None:
            return None
        return torch.tensor([text.guidance for text in conditioning], device=self.device)

    def _places(self, height: int, width: int) -> Float32[Tensor, "tokens 3"]:
        """(0, row, column) of each token."""
        places: Tensor = self._pipeline._prepare_latent_image_ids(  # noqa: SLF001  a helper of encoding, not of the loop
            1, height // 2, width // 2, self.device, torch.float32
        )
        return places

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """Plain classifier-free guidance, on top of what is embedded (the stock pipeline's true_cfg_scale)."""
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
