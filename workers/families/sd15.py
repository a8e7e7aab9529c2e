"""Stable Diffusion 1 and 2, and whatever else is saved as a StableDiffusionPipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Float32
from torch import Tensor

from workers.families.picture import PictureFamily


@dataclass(frozen=True, slots=True)
class Sd15Text:
    """A prompt for the U-Net's cross-attention, padded to the text encoder's length."""

    tokens: Float[Tensor, "tokens width"]


class Sd15Family(PictureFamily):
    """The adapter; times stay float32, between the integers that the network was trained on.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler, its loop and its safety checker are
            never used.

    Raises:
        ValueError: it is for inpainting, or distilled to take the guidance scale.
    """

    def __init__(self, pipeline: StableDiffusionPipeline) -> None:
        super().__init__(pipeline, pipeline.unet)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Sd15Text]:  # noqa: ARG002  alike here
        """Run the text encoder over all prompts at once."""
        tokens, _ = self._pipeline.encode_prompt(
            prompt=list(prompts), device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return [Sd15Text(each) for each in tokens.to(self._dtype)]

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
                encoder_hidden_states=torch.stack([text.tokens for text in conditioning]),
                return_dict=False,
            )[0]
            return output.float()
