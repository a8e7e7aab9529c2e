"""Stable Diffusion 3 and 3.5, and whatever else is saved as a StableDiffusion3Pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from workers.families.base import classifier_free
from workers.families.folded_text import STOCK_ZERO_TOKENS, FoldedTextProcessor
from workers.families.pixels import in_whole_levels, paint_scaled
from workers.families.reading import read_scaled
from workers.keeping import device_of


@dataclass(frozen=True, slots=True)
class Sd3Text:
    """A prompt for the joint transformer: token states and a pooled vector."""

    tokens: Float[Tensor, "tokens width"]
    pooled: Float[Tensor, "pooled"]


class Sd3Family:
    """The adapter; times stay float32 whatever the network's dtype is.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler and its loop are never used.
    """

    def __init__(self, pipeline: StableDiffusion3Pipeline) -> None:
        self._pipeline = pipeline
        self._transformer = pipeline.transformer.eval()
        self.device = device_of(pipeline)
        self._dtype: torch.dtype = self._transformer.dtype
        # Without T5 the stock text ends in 256 zero vectors; one that counts as 256 gives the same picture.
        self._text_length = STOCK_ZERO_TOKENS
        if pipeline.text_encoder_3 is None:
            self._text_length = 1
            self._transformer.set_attn_processor(FoldedTextProcessor())

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Channels, rows and columns of a latent."""
        factor = self._pipeline.vae_scale_factor
        return int(self._transformer.config.in_channels), height // factor, width // factor

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Sd3Text]:  # noqa: ARG002  alike here
        """Run the text encoders over all prompts at once."""
        tokens, _, pooled, _ = self._pipeline.encode_prompt(
            prompt=list(prompts),
            prompt_2=None,
            prompt_3=None,
            do_classifier_free_guidance=False,
            max_sequence_length=self._text_length,
            device=self.device,
        )
        return [Sd3Text(*pair) for pair in zip(tokens.to(self._dtype), pooled.to(self._dtype), strict=True)]

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[Sd3Text],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The velocity at each row's own time; carries gradients if the samples or the times do."""
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)):
            output: Tensor = self._transformer(
                hidden_states=x.to(self._dtype),
                timestep=t,
                encoder_hidden_states=torch.stack([text.tokens for text in conditioning]),
                pooled_projections=torch.stack([text.pooled for text in conditioning]),
                return_dict=False,
            )[0]
            return output.float()

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
        return read_scaled(self._pipeline, pixels, generator)

    def paint(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n 3 height width"]:
        """Undo the latents' normalisation and run the autoencoder."""
        with torch.inference_mode(not x.requires_grad):
            return paint_scaled(self._pipeline, x)

    def decode(self, x: Float32[Tensor, "n channels rows columns"]) -> UInt8[np.ndarray, "n height width 3"]:
        """The same in whole levels."""
        return in_whole_levels(self.paint(x))
