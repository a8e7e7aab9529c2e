"""What the lab needs of a model, whichever family it belongs to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schedules.search.problem import Branches, Combine, Field, SearchProblem, classifier_free
from schedules.table import FloatArray
from workers.lab.native import FLOW_NATIVE, Native
from workers.lab.prompts import PromptSource
from workers.lab.seeds import SeedSet

Pixels = NDArray[np.uint8]


FieldMaker = Callable[[Sequence[str]], Field]
"""From prompts, one for each seed, to the network under them."""


@dataclass(frozen=True, eq=False)
class LabNetwork:
    """A smaller network of a model.

    Attributes:
        weights_sha256: hash of its weights, hex.
        cost: of a forward, in forwards of the model's own network, by floating-point operations.
        field: the network under prompts.
        negative_field: the same under negative prompts.
    """

    weights_sha256: str
    cost: float
    field: FieldMaker
    negative_field: FieldMaker


@dataclass(frozen=True, eq=False)
class LabModel:
    """A model to search schedules for, seen as a flow.

    Attributes:
        name: its id in the registry.
        revision: of its weights, if it has one.
        weights_sha256: hash of its weights, hex.
        quantization: how its weights are quantised; None where they are not.
        dtype: in which the network computes, "float32" for instance.
        asked_dtype: that, where the settings or the card say it; None where it is the device's choice.
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
        native: what the network itself predicts; `field` gives the velocity of a flow whatever that is.
        smaller: networks that rows of a schedule may run instead of the model's own, by name.
    """

    name: str
    revision: str | None
    weights_sha256: str
    dtype: str
    size: tuple[int, int]
    guidance_scale: float
    latent_shape: tuple[int, ...]
    device: torch.device
    field: FieldMaker
    decode: Callable[[Tensor], Pixels]
    prompts: PromptSource
    score: Callable[[Sequence[str], Pixels], FloatArray] | None = None
    negative_field: FieldMaker | None = None
    paint: Callable[[Tensor], Tensor] | None = None
    combine: Combine = classifier_free
    quantization: str | None = None
    native: Native = FLOW_NATIVE
    asked_dtype: str | None = None
    smaller: Mapping[str, LabNetwork] = dataclasses.field(default_factory=dict)

    @property
    def identity(self) -> dict[str, object]:
        """What names all that is kept on disk of this model; how it is quantised, if it is, and what it predicts."""
        bits = {} if self.quantization is None else {"quantization": self.quantization}
        own = {"weights": self.weights_sha256, "dtype": self.dtype, "device": self.device.type}
        return {**own, **bits, **self.native.identity}

    def identity_of(self, networks: Iterable[str]) -> dict[str, object]:
        """The same of the smaller networks among some names; nothing where there are none."""
        named = sorted(set(networks) & self.smaller.keys())
        known = {name: [self.smaller[name].weights_sha256, self.smaller[name].cost] for name in named}
        return {"networks": known} if known else {}

    def problem(self, seeds: SeedSet, *, guidance_scale: float, batch: int) -> SearchProblem:
        """The seeds as the search sees them; noise is drawn on the CPU, so that a seed is the same everywhere."""
        guided = guidance_scale != 1.0
        none = [""] * len(seeds.prompts)
        smaller = {
            name: Branches(each.field(seeds.prompts), each.negative_field(none) if guided else None, each.cost)
            for name, each in self.smaller.items()
        }
        return SearchProblem(
            noise=seeds.noise(self.latent_shape).to(self.device),
            conditional=self.field(seeds.prompts),
            unconditional=(self.negative_field or self.field)(none) if guided else None,
            guidance_scale=guidance_scale,
            combine=self.combine,
            batch=batch,
            smaller=smaller,
        )
