"""PixArt-Sigma, and whatever else is saved as a PixArtSigmaPipeline."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import PixArtSigmaPipeline
from jaxtyping import Float32
from torch import Tensor

from workers.families.masked_text import CLEANS_CAPTIONS, MaskedText, stacked
from workers.families.picture import PictureFamily


class PixArtSigmaFamily(PictureFamily):
    """The adapter; times stay float32, between the integers that the network was trained on.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler, its loop and its resolution bins
            are never used.

    Raises:
        ValueError: the network wants size conditions, as those of PixArt-Alpha do.
    """

    def __init__(self, pipeline: PixArtSigmaPipeline) -> None:
        super().__init__(pipeline, pipeline.transformer)
        if self._network.use_additional_conditions:
            raise ValueError("the network wants resolution and aspect ratio, which PixArtSigmaPipeline never gives it")

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[MaskedText]:  # noqa: ARG002  alike here
        """Run the text encoder over all prompts at once."""
        tokens, mask, _, _ = self._pipeline.encode_prompt(
            list(prompts), do_classifier_free_guidance=False, device=self.device, clean_caption=CLEANS_CAPTIONS
        )
        return MaskedText.each(tokens.to(self._dtype), mask)

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[MaskedText],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The noise at each row's own time, without the variance that the network predicts beside it.

        Carries gradients if the samples or the times do.
        """
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)):
            tokens, mask = stacked(conditioning)
            output: Tensor = self._network(
                x.to(self._dtype),
                encoder_hidden_states=tokens,
                encoder_attention_mask=mask,
                timestep=t,
                added_cond_kwargs={"resolution": None, "aspect_ratio": None},
                return_dict=False,
            )[0]
            return output[:, : self._channels].float()
