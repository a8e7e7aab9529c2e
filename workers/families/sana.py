"""Sana, and whatever else is saved as a SanaPipeline."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from diffusers import SanaPipeline
from jaxtyping import Float32
from torch import Tensor

from workers.families.masked_text import MaskedText, stacked
from workers.families.picture import PictureFamily

_INSTRUCTION = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
"""What the stock pipeline tells its language model before each prompt, but before no negative one."""


class SanaFamily(PictureFamily):
    """The adapter; times stay float32 whatever the network's dtype is.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler, its loop and its resolution bins
            are never used.

    Raises:
        ValueError: the network takes the guidance scale, as that of Sana-Sprint does.
    """

    def __init__(self, pipeline: SanaPipeline) -> None:
        super().__init__(pipeline, pipeline.transformer)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[MaskedText]:
        """Run the language model over all prompts at once.

        Args:
            prompts: what to encode.
            negative: whether to leave out the instruction, as the stock pipeline does.
        """
        # The stock method selects the prompt's own places after the instruction only for what it calls positive; where
        # there is no instruction it selects all of them.
        tokens, mask, _, _ = self._pipeline.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=False,
            device=self.device,
            complex_human_instruction=None if negative else _INSTRUCTION,
        )
        return MaskedText.each(tokens.to(self._dtype), mask)

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[MaskedText],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The velocity at each row's own time; carries gradients if the samples or the times do."""
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)):
            tokens, mask = stacked(conditioning)
            output: Tensor = self._network(
                x.to(self._dtype),
                encoder_hidden_states=tokens,
                encoder_attention_mask=mask,
                timestep=t * self._network.config.timestep_scale,
                return_dict=False,
            )[0]
            return output[:, : self._channels].float()
