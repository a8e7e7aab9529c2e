"""FLUX.2 (dev and klein), and whatever else is saved as a Flux2Pipeline or a Flux2KleinPipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import Flux2KleinPipeline, Flux2Pipeline
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from workers.families.base import classifier_free
from workers.families.exact_time import ExactTime
from workers.families.patches import SIDE, latent_sides
from workers.families.pixels import in_whole_levels, painted
from workers.families.reading import as_input, encoded
from workers.keeping import device_of

STOCK_GUIDANCE = 4.0
"""The scale that the stock pipeline embeds by default."""


@dataclass(frozen=True, slots=True)
class Flux2Text:
    """A prompt for the transformer.

    Attributes:
        tokens: states of three layers of the language model, padding included, as the network was trained.
        guidance: the scale that the network embeds; None where it takes none.
    """

    tokens: Float[Tensor, "tokens width"]
    guidance: float | None

    def with_guidance(self, scale: float) -> Flux2Text:
        """The same prompt with another scale."""
        return replace(self, guidance=scale)


class Flux2Family:
    """The adapter; one latent pixel, with all its channels, is one token.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler and its loop are never used.
    """

    def __init__(self, pipeline: Flux2Pipeline | Flux2KleinPipeline) -> None:
        self._pipeline = pipeline
        self._transformer = pipeline.transformer.eval()
        self._time = ExactTime(self._transformer.time_guidance_embed)
        self.device = device_of(pipeline)
        self._dtype: torch.dtype = self._transformer.dtype
        self._stock_guidance = STOCK_GUIDANCE if self._transformer.config.guidance_embeds else None

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Channels, rows and columns of a latent, each of its pixels a square of 2 x 2 of the autoencoder's."""
        rows, columns = latent_sides(width, height, self._pipeline.vae_scale_factor)
        return int(self._transformer.config.in_channels), rows // SIDE, columns // SIDE

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Flux2Text]:  # noqa: ARG002  alike here
        """Run the language model over all prompts at once."""
        tokens, _ = self._pipeline.encode_prompt(prompt=list(prompts), device=self.device)
        return [Flux2Text(row, self._stock_guidance) for row in tokens.to(self._dtype)]

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[Flux2Text],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The velocity at each row's own time; carries gradients if the samples or the times do."""
        height, width = x.shape[2:]
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)), self._time.of(t):
            tokens: Tensor = self._transformer(
                hidden_states=x.to(self._dtype).flatten(2).transpose(1, 2),
                timestep=t / 1000,
                guidance=self._guidance(conditioning),
                encoder_hidden_states=torch.stack([text.tokens for text in conditioning]),
                txt_ids=self._places(1, 1, len(conditioning[0].tokens)),
                img_ids=self._places(height, width, 1),
                return_dict=False,
            )[0]
            return tokens.float().transpose(1, 2).reshape(x.shape)

    def _guidance(self, conditioning: Sequence[Flux2Text]) -> Float32[Tensor, "rows"] | None:
        if self._stock_guidance is None:
            return None
        return torch.tensor([text.guidance for text in conditioning], device=self.device)

    def _places(self, rows: int, columns: int, words: int) -> Int64[Tensor, "tokens 4"]:
        """(0, row, column, word) of each token."""
        counts = (torch.arange(size, device=self.device) for size in (1, rows, columns, words))
        return torch.stack(torch.meshgrid(*counts, indexing="ij"), dim=-1).flatten(0, 3)

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """Plain classifier-free guidance, on top of what is embedded."""
        return classifier_free(conditional, unconditional, guidance)

    @torch.inference_mode()
    def encode_image(
        self, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
    ) -> Float32[Tensor, "channels rows columns"]:
        """Run the autoencoder, gather squares of its latents and normalise them; the stock pipelines take its mode."""
        del generator
        vae = self._pipeline.vae
        latents = F.pixel_unshuffle(encoded(vae, as_input(pixels, vae), None), SIDE)[0]
        deviation = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
        normal: Tensor = latents - vae.bn.running_mean.to(latents).reshape(-1, 1, 1)
        return normal / deviation.to(latents).reshape(-1, 1, 1)

    def paint(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n 3 height width"]:
        """Undo the batch normalisation of the latents, spread each pixel over its square and run the autoencoder."""
        with torch.inference_mode(not x.requires_grad):
            vae = self._pipeline.vae
            deviation = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
            latents = x * deviation.to(x).reshape(-1, 1, 1) + vae.bn.running_mean.to(x).reshape(-1, 1, 1)
            return painted(
                self._pipeline, vae.decode(F.pixel_shuffle(latents, SIDE).to(vae.dtype), return_dict=False)[0]
            )

    def decode(self, x: Float32[Tensor, "n channels rows columns"]) -> UInt8[np.ndarray, "n height width 3"]:
        """The same in whole levels."""
        return in_whole_levels(self.paint(x))
