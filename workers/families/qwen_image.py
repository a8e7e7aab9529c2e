"""Qwen-Image, and whatever else is saved as a QwenImagePipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import QwenImagePipeline
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from workers.families.base import classifier_free
from workers.families.exact_time import ExactTime
from workers.families.patches import from_patches, latent_sides, to_patches
from workers.families.pixels import in_whole_levels, painted
from workers.families.reading import as_input, encoded
from workers.keeping import device_of

STOCK_TEXT_TOKENS = 512
"""Where the stock pipeline cuts a prompt."""

QwenText = Float[Tensor, "_ features"]
"""A prompt for the transformer: its token states, as many as it has."""


class QwenImageFamily:
    """The adapter; latents are spatial and become tokens inside `denoise`, prompts are padded there and masked.

    Args:
        pipeline: the stock pipeline, on its device and in its dtype; its scheduler and its loop are never used.

    Raises:
        ValueError: the network is configured to take the guidance scale, which no released one does, or pictures beside
            the prompt, as those for editing are.
    """

    def __init__(self, pipeline: QwenImagePipeline) -> None:
        self._pipeline = pipeline
        self._transformer = pipeline.transformer.eval()
        if self._transformer.config.guidance_embeds:
            raise ValueError("the network takes the guidance scale as an input (guidance_embeds), which is not served")
        if self._transformer.config.get("zero_cond_t"):
            raise ValueError(
                "the network takes pictures as conditions at a time of their own (zero_cond_t): not served"
            )
        self._time = ExactTime(self._transformer.time_text_embed)
        self.device = device_of(pipeline)
        self._dtype: torch.dtype = self._transformer.dtype

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Channels, rows and columns of a latent."""
        channels = int(self._transformer.config.in_channels) // 4
        return channels, *latent_sides(width, height, self._pipeline.vae_scale_factor)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[QwenText]:  # noqa: ARG002  alike here
        """Run the language model over all prompts at once; each result is as long as its prompt."""
        tokens, mask = self._pipeline.encode_prompt(
            prompt=list(prompts), device=self.device, max_sequence_length=STOCK_TEXT_TOKENS
        )
        lengths = [tokens.shape[1]] * len(prompts) if mask is None else mask.sum(dim=1).tolist()
        return [row[:length].to(self._dtype, copy=True) for row, length in zip(tokens, lengths, strict=True)]

    def denoise(
        self,
        x: Float32[Tensor, "rows channels height width"],
        t: Float32[Tensor, "rows"],
        conditioning: Sequence[QwenText],
    ) -> Float32[Tensor, "rows channels height width"]:
        """The velocity at each row's own time; carries gradients if the samples or the times do."""
        height, width = x.shape[2:]
        with torch.inference_mode(not (x.requires_grad or t.requires_grad)), self._time.of(t / 1000):
            tokens: Tensor = self._transformer(
                hidden_states=to_patches(x.to(self._dtype)),
                timestep=t / 1000,
                encoder_hidden_states=pad_sequence(list(conditioning), batch_first=True),
                encoder_hidden_states_mask=_mask(conditioning),
                img_shapes=[[(1, height // 2, width // 2)]] * len(x),
                return_dict=False,
            )[0]
            return from_patches(tokens, height, width).float()

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """Classifier-free guidance, each token then rescaled to the length that the conditional one has."""
        height, width = conditional.shape[2:]
        mixed = to_patches(classifier_free(conditional, unconditional, guidance))
        wanted = to_patches(conditional).norm(dim=-1, keepdim=True)
        return from_patches(mixed * (wanted / mixed.norm(dim=-1, keepdim=True)), height, width)

    @torch.inference_mode()
    def encode_image(
        self, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
    ) -> Float32[Tensor, "channels rows columns"]:
        """Run the autoencoder on a film of one frame, and normalise its latents channel by channel."""
        vae = self._pipeline.vae
        latents = encoded(vae, as_input(pixels, vae).unsqueeze(2), generator)[0, :, 0]
        mean, deviation = (
            torch.tensor(numbers).to(latents).reshape(-1, 1, 1)
            for numbers in (vae.config.latents_mean, vae.config.latents_std)
        )
        return (latents - mean) / deviation

    def paint(self, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n 3 height width"]:
        """Undo the latents' normalisation, channel by channel, and run the autoencoder on films of one frame."""
        with torch.inference_mode(not x.requires_grad):
            vae = self._pipeline.vae
            latents = x.to(vae.dtype).unsqueeze(2)
            mean, deviation = (
                torch.tensor(numbers).to(latents).reshape(1, -1, 1, 1, 1)
                for numbers in (vae.config.latents_mean, vae.config.latents_std)
            )
            return painted(self._pipeline, vae.decode(latents * deviation + mean, return_dict=False)[0][:, :, 0])

    def decode(self, x: Float32[Tensor, "n channels rows columns"]) -> UInt8[np.ndarray, "n height width 3"]:
        """The same in whole levels."""
        return in_whole_levels(self.paint(x))


def _mask(texts: Sequence[QwenText]) -> Bool[Tensor, "rows longest"] | None:
    """Which tokens are a prompt's own; None where all are, which spares the attention a mask."""
    lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
    longest = max(len(text) for text in texts)
    if min(len(text) for text in texts) == longest:
        return None
    return torch.arange(longest, device=lengths.device) < lengths[:, None]
