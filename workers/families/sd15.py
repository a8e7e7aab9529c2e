"""Stable Diffusion 1 and 2, their latent consistency models, and whatever else is saved as one of these pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import LatentConsistencyModelPipeline, StableDiffusionPipeline
from jaxtyping import Float, Float32
from torch import Tensor

from workers.families.picture import PictureFamily

STOCK_GUIDANCE = 8.5
"""The scale that the stock pipeline of latent consistency models embeds by default."""


@dataclass(frozen=True, slots=True)
class Sd15Text:
    """A prompt for the U-Net.

    Attributes:
        tokens: for its cross-attention, padded to the text encoder's length.
        guidance: the scale that it embeds, if it was distilled to take one; None otherwise.
    """

    tokens: Float[Tensor, "tokens width"]
    guidance: float | None = None

    def with_guidance(self, scale: float) -> Sd15Text:
        """The same prompt with another scale."""
        return replace(self, guidance=scale)


class Sd15Family(PictureFamily):
    """The adapter; times stay float32, between the integers that the network was trained on.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler, its loop and its safety checker are
            never used.

    Raises:
        ValueError: it is for inpainting.
    """

    def __init__(self, pipeline: StableDiffusionPipeline | LatentConsistencyModelPipeline) -> None:
        super().__init__(pipeline, pipeline.unet, scale_input="time_cond_proj_dim")
        self._scale_width: int | None = self._network.config.time_cond_proj_dim

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Sd15Text]:  # noqa: ARG002  alike here
        """Run the text encoder over all prompts at once."""
        tokens, _ = self._pipeline.encode_prompt(
            prompt=list(prompts), device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        guidance = None if self._scale_width is None else STOCK_GUIDANCE
        return [Sd15Text(each, guidance) for each in tokens.to(self._dtype)]

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[Sd15Text],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The noise (or v) at each row's own time; carries gradients if the samples or the times do."""
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)):
            output: Tensor = self._network(
                x.to(self._dtype),
                t,
                timestep_cond=self._scales(conditioning),
                encoder_hidden_states=torch.stack([text.tokens for text in conditioning]),
                return_dict=False,
            )[0]
            return output.float()

    def _scales(self, conditioning: Sequence[Sd15Text]) -> Float[Tensor, "rows features"] | None:
        """Sinusoids of each row's guidance scale, which counts from 0 there."""
        if self._scale_width is None:
            return None
        scales = torch.tensor([text.guidance for text in conditioning], dtype=torch.float64) - 1
        made: Tensor = self._pipeline.get_guidance_scale_embedding(scales.float(), embedding_dim=self._scale_width)
        return made.to(self.device, self._dtype)
