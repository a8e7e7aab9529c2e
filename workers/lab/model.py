"""What the lab needs of a model, whichever family it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schedules.search.problem import Combine, Field, SearchProblem, classifier_free
from schedules.table import FloatArray
from workers.lab.prompts import PromptSource
from workers.lab.seeds import SeedSet

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class LabModel:
    """A flow model to search schedules for.

    Attributes:
        name: its id in the registry.
        revision: of its weights, if it has one.
        weights_sha256: hash of its weights, hex.
        dtype: in which the network computes, "float32" for instance.
        size: width and height in pixels.
        guidance_scale: the scale of a request that names none.
        latent_shape: channels, height and width of a latent.
        device: where the network lies.
        field: from prompts, one for each seed, to the network under them.
        decode: from latents (B, *latent) to pixels (B, height, width, 3), uint8 sRGB.
        prompts: where prompts come from.
        score: from prompts and pixels to each picture's score, shape (n,), whose mean is the share of tasks solved, in
            0..1; where a program can judge that.
        negative_field: as `field`, with negative prompts, where a family encodes these in its own way.
        paint: the pictures of `decode` before they are rounded, shape (B, 3, height, width), float32 from 0 to 255;
            where the family gives them.
        combine: how the guided output is made.
    """

    name: str
    revision: str | None
    weights_sha256: str
    dtype: str
    size: tuple[int, int]
    guidance_scale: float
    latent_shape: tuple[int, ...]
    device: torch.device
    field: Callable[[Sequence[str]], Field]
    decode: Callable[[Tensor], Pixels]
    prompts: PromptSource
    score: Callable[[Sequence[str], Pixels], FloatArray] | None = None
    negative_field: Callable[[Sequence[str]], Field] | None = None
    paint: Callable[[Tensor], Tensor] | None = None
    combine: Combine = classifier_free

    def problem(self, seeds: SeedSet, *, guidance_scale: float, batch: int) -> SearchProblem:
        """The seeds as the search sees them; noise is drawn on the CPU, so that a seed is the same everywhere."""
        guided = guidance_scale != 1.0
        return SearchProblem(
            noise=seeds.noise(self.latent_shape).to(self.device),
            conditional=self.field(seeds.prompts),
            unconditional=(self.negative_field or self.field)([""] * len(seeds.prompts)) if guided else None,
            guidance_scale=guidance_scale,
            combine=self.combine,
            batch=batch,
        )
