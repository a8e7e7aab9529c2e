"""digits-8 for the lab: an epsilon-prediction model, seen as a flow."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from schedules.artefact import BetaSchedule
from schedules.search.problem import Field
from schedules.table import FloatArray
from workers.digits.data import Digits, load_digits
from workers.digits.export import recognised
from workers.digits.network import BETA_END, BETA_START, DIGITS, FOLDER, NO_DIGIT, DigitsNetwork, load_network
from workers.lab.model import LabModel, Pixels
from workers.lab.native import Native
from workers.lab.prompts import SplitName
from workers.models import weights_sha256

NAME = "digits-8"
NATIVE = Native("epsilon", BetaSchedule(kind="linear", beta_start=BETA_START, beta_end=BETA_END))


@dataclass(frozen=True, slots=True)
class DigitPrompts:
    """The ten digits in turn, beginning anywhere; seeds alone tell the splits apart."""

    def draw(self, split: SplitName, count: int, seed: int) -> tuple[str, ...]:
        """`count` digits, each as one character."""
        first = random.Random(f"{split} {seed}").randrange(DIGITS)
        return tuple(str((first + k) % DIGITS) for k in range(count))


def digits_model(folder: Path = FOLDER) -> LabModel:
    """The shipped model as a flow; prompts are "0" to "9", and "" for any digit.

    Args:
        folder: where the network lies, in the layout of `python -m workers.digits.train`.

    Raises:
        OSError: it is not there.
    """
    network = load_network(folder)
    return LabModel(
        name=NAME,
        revision=None,
        weights_sha256=weights_sha256(folder),
        dtype="float32",
        size=(8, 8),
        guidance_scale=1.5,
        latent_shape=(1, 8, 8),
        device=torch.device("cpu"),
        field=NATIVE.velocity(partial(epsilon_field, network)),
        decode=_decode,
        prompts=DigitPrompts(),
        score=recognition_scores,
        native=NATIVE,
    )


def epsilon_field(network: DigitsNetwork, prompts: Sequence[str]) -> Field:
    """The network itself under each seed's prompt: unit variance and training times in, noise out.

    Raises:
        ValueError: a prompt is no digit.
    """
    labels = torch.tensor([_label(prompt) for prompt in prompts])

    def field(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        noise: Tensor = network(x, t, labels[rows]).sample
        return noise

    return field


def recognition_scores(prompts: Sequence[str], pixels: Pixels) -> FloatArray:
    """Scores whose mean is the share of pictures that show the digit that was asked for, empty prompts left out.

    Args:
        prompts: one for each picture, "" for any digit.
        pixels: shape (n, 8, 8, 3), uint8.

    Returns:
        Shape (n,), float64; 0 for empty prompts.
    """
    asked = [index for index, prompt in enumerate(prompts) if prompt]
    pictures = 1 - torch.from_numpy(pixels[asked, ..., 0]).float() / 127.5
    passed = recognised(pictures, torch.tensor([_label(prompts[index]) for index in asked]), _real_digits())
    scores = np.zeros(len(prompts))
    scores[asked] = passed.numpy() * len(prompts) / len(asked)
    return scores


@cache
def _real_digits() -> Digits:
    return load_digits()[0]


def _label(prompt: str) -> int:
    if prompt == "":
        return NO_DIGIT
    if prompt not in [str(digit) for digit in range(DIGITS)]:
        raise ValueError(f"prompt: must be a digit, or empty for any, is {prompt!r}")
    return int(prompt)


def _decode(latents: Tensor) -> Pixels:
    """Dark ink on white paper, shape (B, 8, 8, 3), uint8."""
    grey = ((1 - latents[:, 0].clamp(-1, 1)) * 127.5).round().to(torch.uint8)
    return np.asarray(grey[..., None].expand(-1, -1, -1, 3).numpy()).copy()
