"""A model without a network: two exact Gaussians, one for prompts, one for the empty prompt."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.search.analytic import gaussian_mixture
from schedules.search.problem import Field
from schedules.table import FloatArray
from workers.lab.meter import Meter
from workers.lab.model import LabModel, Pixels
from workers.lab.prompts import ShapesPrompts
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.store import LabStore

PROMPTED, UNPROMPTED = (gaussian_mixture(dimensions=48, components=1, spread=0.1, seed=seed) for seed in (0, 1))


def mixture_field(prompts: Sequence[str]) -> Field:
    return PROMPTED if prompts[0] else UNPROMPTED


def as_pixels(latents: Tensor) -> Pixels:
    levels = (latents.reshape(len(latents), 4, 4, 3) / 4 + 0.5).clamp(0, 1) * 255
    return np.asarray(levels.round().to(torch.uint8).numpy())


def brightness_scores(prompts: Sequence[str], pixels: Pixels) -> FloatArray:
    return np.asarray(pixels.mean((1, 2, 3)) > 127, dtype=np.float64)


@pytest.fixture
def model() -> LabModel:
    return LabModel(
        name="mixture", revision=None, weights_sha256="0" * 64, dtype="float64", size=(4, 4), guidance_scale=1.5,
        latent_shape=(48,), device=torch.device("cpu"), field=mixture_field, decode=as_pixels,
        prompts=ShapesPrompts(), score=brightness_scores,
    )  # fmt: skip


@pytest.fixture
def request_() -> SearchRequest:
    return SearchRequest(
        "euler", (1, 2, 4), 1.5, seeds=32, held_out=64, grid=24, teacher_steps=48, baselines=("uniform", "beta")
    )


@pytest.fixture
def bench_of(model: LabModel, tmp_path: Path) -> Callable[[SearchRequest], SearchRun]:
    return lambda request: SearchRun(model, request, LabStore(tmp_path / "lab"), Meter())
