"""The latents that the flow is trained on: encoded once, kept on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from rich.progress import Progress
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from workers.shapes.architecture import MAX_WORDS
from workers.shapes.data import PictureStream
from workers.shapes.language import COUNTS

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Pool:
    """Training examples.

    Attributes:
        latents: normalised latents, shape (n, 4, 16, 16), float16.
        tokens: token ids of the sentences, shape (n, 16), int64.
        counting: indices of the examples whose sentence counts, int64.
        others: indices of the rest, int64.
    """

    latents: Tensor
    tokens: Tensor
    counting: Tensor
    others: Tensor

    @classmethod
    def of(cls, latents: Tensor, tokens: Tensor, tokenizer: PreTrainedTokenizerFast) -> Pool:
        """Sort the examples by the first word of their sentence."""
        numbers = torch.tensor(tokenizer.convert_tokens_to_ids(list(COUNTS)))
        counts = torch.isin(tokens[:, 1], numbers)
        return cls(latents, tokens, counts.nonzero().squeeze(1), (~counts).nonzero().squeeze(1))

    def choose(self, size: int, count_share: float, generator: torch.Generator) -> Tensor:
        """Random examples, each a counting one with the given probability: indices (size,), int64."""
        kinds = torch.rand(size, generator=generator) < count_share
        counting = self.counting[torch.randint(len(self.counting), (size,), generator=generator)]
        others = self.others[torch.randint(len(self.others), (size,), generator=generator)]
        return torch.where(kinds, counting, others)


def load_or_build_pool(
    path: Path, vae: AutoencoderKL, tokenizer: PreTrainedTokenizerFast, size: int, progress: Progress
) -> Pool:
    """Read the pool from disk, or draw and encode `size` pictures of the training prompts.

    Sets the autoencoder's scaling_factor and shift_factor so that latents have mean 0 and deviation 1.
    """
    if path.exists():
        saved = torch.load(path, weights_only=True)
        vae.register_to_config(scaling_factor=float(saved["scale"]), shift_factor=float(saved["shift"]))
        return Pool.of(saved["latents"], saved["tokens"], tokenizer)
    latents, tokens = _encode(vae, tokenizer, size, progress)
    shift, scale = float(latents.float().mean()), 1.0 / float(latents.float().std())
    vae.register_to_config(scaling_factor=scale, shift_factor=shift)
    pool = Pool.of(((latents.float() - shift) * scale).half(), tokens, tokenizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"latents": pool.latents, "tokens": pool.tokens, "scale": scale, "shift": shift}, path)
    return pool


@torch.no_grad()
def _encode(
    vae: AutoencoderKL, tokenizer: PreTrainedTokenizerFast, size: int, progress: Progress
) -> tuple[Tensor, Tensor]:
    stream = PictureStream(seed=2, batch_size=_CHUNK)
    task = progress.add_task("encoding pictures", total=size)
    latents, tokens = [], []
    for index in range(-(-size // _CHUNK)):
        pixels, sentences = stream.batch(index)
        latents.append(vae.encode(pixels.to(vae.device)).latent_dist.mode().half().cpu())
        tokens.append(tokenize(tokenizer, sentences))
        progress.update(task, advance=_CHUNK)
    return torch.cat(latents)[:size], torch.cat(tokens)[:size]


def tokenize(tokenizer: PreTrainedTokenizerFast, sentences: list[str]) -> Tensor:
    """Token ids of sentences, padded as the pipeline pads them, shape (n, 16), int64."""
    batch = tokenizer(sentences, padding="max_length", max_length=MAX_WORDS, truncation=True, return_tensors="pt")
    ids: Tensor = batch.input_ids
    return ids
