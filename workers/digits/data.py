"""The 1797 handwritten digits of 8x8 pixels that scikit-learn carries; needed for training and judging only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.digits.network import NO_DIGIT

_TRAINED = 1500
_LEVELS = 16


@dataclass(frozen=True, eq=False)
class Digits:
    """Pictures and what they show.

    Attributes:
        pictures: -1 (paper) to 1 (ink), shape (M, 1, 8, 8), float32.
        labels: 0 to 9, shape (M,), int64.
    """

    pictures: Tensor
    labels: Tensor


def load_digits() -> tuple[Digits, Digits]:
    """The pictures for training, and 297 that training never sees; always the same."""
    from sklearn.datasets import load_digits as load  # noqa: PLC0415 - for training, not for use

    data = load()
    order = np.random.default_rng(0).permutation(len(data.target))
    pictures = torch.tensor(data.images[order], dtype=torch.float32)[:, None] / (_LEVELS / 2) - 1
    labels = torch.tensor(data.target[order], dtype=torch.int64)
    return Digits(pictures[:_TRAINED], labels[:_TRAINED]), Digits(pictures[_TRAINED:], labels[_TRAINED:])


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from: pictures, their noise, training times and labels."""

    pictures: Tensor
    noise: Tensor
    times: Tensor
    labels: Tensor


def draw_batch(digits: Digits, step: int, *, size: int, train_times: int, drop: float, seed: int) -> Batch:
    """The batch of a step; the same for the same seed and step, wherever training was interrupted.

    Args:
        digits: what to draw from, with repeats.
        step: of the optimiser.
        size: pictures.
        train_times: how many times the noise schedule has.
        drop: the share of labels that become "none", so that guidance has its unconditional branch.
        seed: of the whole training.
    """
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    rows = torch.randint(len(digits.labels), (size,), generator=generator)
    pictures = digits.pictures[rows]
    grain = (torch.rand(pictures.shape, generator=generator) - 0.5) / _LEVELS  # grey levels are rounded
    labels = digits.labels[rows].masked_fill(torch.rand(size, generator=generator) < drop, NO_DIGIT)
    return Batch(
        pictures=pictures + grain,
        noise=torch.randn(pictures.shape, generator=generator),
        times=torch.randint(train_times, (size,), generator=generator),
        labels=labels,
    )
