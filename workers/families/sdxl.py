"""Stable Diffusion XL, and whatever else is saved as a StableDiffusionXLPipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionXLPipeline
from jaxtyping import Float, Float32
from torch import Tensor

from workers.families.picture import PictureFamily


@dataclass(frozen=True, slots=True)
class SdxlText:
    """A prompt for the U-Net: token states of both text encoders side by side, and the second one's pooled vector."""

    tokens: Float[Tensor, "tokens width"]
    pooled: Float[Tensor, "pooled"]


class SdxlFamily(PictureFamily):
    """The adapter; times stay float32, between the integers that the network was trained on.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler, its loop and its watermark are
            never used.

    Raises:
        ValueError: it is for inpainting, or distilled to take the guidance scale.
    """

    def __init__(self, pipeline: StableDiffusionXLPipeline) -> None:
        super().__init__(pipeline, pipeline.unet)
        if pipeline.vae.dtype == torch.float16 and pipeline.vae.config.force_upcast:
            pipeline.vae.float()  # it overflows in float16

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[SdxlText]:
        """Run both text encoders over all prompts at once.

        Args:
            prompts: what to encode.
            negative: whether an empty prompt stands for none, for which most of these models know zeros, not a text.
        """
        tokens, _, pooled, _ = self._pipeline.encode_prompt(
            prompt=list(prompts), device=self.device, do_classifier_free_guidance=False
        )
        texts = [SdxlText(*pair) for pair in zip(tokens.to(self._dtype), pooled.to(self._dtype), strict=True)]
        if not (negative and self._pipeline.config.force_zeros_for_empty_prompt):
            return texts
        return [text if prompt else _zeros_like(text) for prompt, text in zip(prompts, texts, strict=True)]

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[SdxlText],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The noise (or v) at each row's own time; carries gradients if the samples or the times do."""
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)):
            added = {
                "text_embeds": torch.stack([text.pooled for text in conditioning]),
                "time_ids": self._size(x).expand(len(x), -1),
            }
            output: Tensor = self._network(
                x.to(self._dtype),
                t,
                encoder_hidden_states=torch.stack([text.tokens for text in conditioning]),
                added_cond_kwargs=added,
                return_dict=False,
            )[0]
            return output.float()

    def _unscaled(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n channels rows columns"]:
        """Latents as the autoencoder made them; that of some models has a mean and a deviation for each channel."""
        mean, deviation = self._statistics(x)
        return super()._unscaled(x * deviation) + mean

    def _scaled(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n channels rows columns"]:
        """The inverse."""
        mean, deviation = self._statistics(x)
        return super()._scaled(x - mean) / deviation

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and deviations, shape (1, channels, 1, 1); 0 and 1 where the autoencoder has not both."""
        config = self._pipeline.vae.config
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        if mean is None or deviation is None:
            return x.new_zeros(()), x.new_ones(())
        return x.new_tensor(mean).reshape(1, -1, 1, 1), x.new_tensor(deviation).reshape(1, -1, 1, 1)

    def _size(self, x: Float32[Tensor, "rows channels height width"]) -> Float32[Tensor, "1 six"]:
        """The size that the network is told: the original's, no cropping, the target's, in pixels."""
        height, width = (side * self._pipeline.vae_scale_factor for side in x.shape[-2:])
        return torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=x.device)


def _zeros_like(text: SdxlText) -> SdxlText:
    return SdxlText(torch.zeros_like(text.tokens), torch.zeros_like(text.pooled))
