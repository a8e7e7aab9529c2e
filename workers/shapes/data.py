"""The training data of shapes-64: an endless deterministic stream of (picture, sentence)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from workers.shapes.language import Kind, Prompt, all_prompts, is_held_out
from workers.shapes.render import draw

_KIND_SHARES: dict[Kind, float] = {"one": 0.25, "pair": 0.5, "count": 0.25}


class PictureStream:
    """Pictures of prompts that are not held out; batch k is a function of (seed, k) alone.

    Args:
        seed: the stream's seed.
        batch_size: pictures in a batch.
    """

    def __init__(self, seed: int, batch_size: int) -> None:
        self._seed = seed
        self._batch_size = batch_size
        self._pools: dict[Kind, list[Prompt]] = {kind: [] for kind in _KIND_SHARES}
        for prompt in all_prompts():
            if not is_held_out(prompt):
                self._pools[prompt.kind].append(prompt)

    def batch(self, index: int) -> tuple[Tensor, list[str]]:
        """Batch `index`: pixels (batch, 3, 64, 64) float32 in -1..1, and their sentences."""
        rng = np.random.default_rng((self._seed, index))
        prompts = [self._prompt(rng) for _ in range(self._batch_size)]
        pixels = np.stack([draw(prompt, rng) for prompt in prompts])
        return to_tensor(pixels), [str(prompt) for prompt in prompts]

    def _prompt(self, rng: np.random.Generator) -> Prompt:
        kinds = list(_KIND_SHARES)
        pool = self._pools[kinds[rng.choice(len(kinds), p=list(_KIND_SHARES.values()))]]
        return pool[rng.integers(len(pool))]


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Pixels (batch, height, width, 3) uint8 to (batch, 3, height, width) float32 in -1..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
