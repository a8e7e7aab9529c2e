"""Seeds for calibration, validation and evidence, in ranges that never meet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.lab.prompts import SPLITS, PromptSource, SplitName

SEEDS_PER_SPLIT = 1_000_000


@dataclass(frozen=True, slots=True)
class SeedSet:
    """Consecutive seeds, each with its prompt.

    Attributes:
        offset: the first seed.
        prompts: one for each seed.
    """

    offset: int
    prompts: tuple[str, ...]

    @property
    def prompts_sha256(self) -> str:
        """Hash of the prompts in their order, hex."""
        return hashlib.sha256("\n".join(self.prompts).encode()).hexdigest()

    def noise(self, latent_shape: tuple[int, ...]) -> Tensor:
        """Each seed's starting noise, drawn as the workers draw it, shape (M, *latent), float32, on the CPU."""
        seeds = range(self.offset, self.offset + len(self.prompts))
        return torch.stack([torch.randn(latent_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def seed_set(source: PromptSource, split: SplitName, count: int, offset: int) -> SeedSet:
    """The seeds of a split; seed k of the offset is seed k + (the split's number) million.

    Args:
        source: of the prompts.
        split: which.
        count: how many seeds.
        offset: from 0 to below a million less the count, so that splits never meet whatever the offsets.

    Raises:
        ValueError: an impossible count or offset.
    """
    if count < 1:
        raise ValueError(f"seeds: must be at least 1, is {count}")
    if not 0 <= offset <= SEEDS_PER_SPLIT - count:
        raise ValueError(f"seed offset: must be in 0..{SEEDS_PER_SPLIT - count}, is {offset}")
    place = SPLITS.index(split)
    return SeedSet(place * SEEDS_PER_SPLIT + offset, source.draw(split, count, offset))
