"""Train digits-8 from nothing: `python -m workers.digits.train`. Interrupt it at will, it goes on where it was."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import DDPMScheduler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from workers.digits.data import Batch, Digits, draw_batch, load_digits
from workers.digits.export import export
from workers.digits.network import BETA_END, BETA_START, FOLDER, DigitsNetwork
from workers.shapes.checkpoint import load_checkpoint, save_checkpoint

_SAVE_EVERY = 250


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: of the optimiser.
        batch_size: pictures a step.
        rate: of learning, at its peak.
        drop: share of labels left out.
        seed: of the weights and the batches.
    """

    steps: int = 5000
    batch_size: int = 256
    rate: float = 2e-3
    drop: float = 0.1
    seed: int = 0


class Seconds:
    """Core seconds spent on training, over all interruptions."""

    def __init__(self) -> None:
        self.spent = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The state."""
        return {"spent": self.spent}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state back."""
        self.spent = float(state["spent"])


def noise_scheduler() -> DDPMScheduler:
    """The noise that the model is trained under: a line of betas over 1000 times (Ho et al. 2020)."""
    return DDPMScheduler(beta_schedule="linear", beta_start=BETA_START, beta_end=BETA_END, clip_sample=False)


def train(folder: Path, digits: Digits, recipe: Recipe, progress: Progress) -> tuple[DigitsNetwork, float]:
    """Train, or go on with the checkpoint in the folder; the averaged network and the core seconds that it took."""
    torch.manual_seed(recipe.seed)
    network = DigitsNetwork()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.02)
    spent, path = Seconds(), folder / "digits.pt"
    parts = {"network": network, "average": average, "optimiser": optimiser, "seconds": spent}
    first = load_checkpoint(path, parts, torch.device("cpu"))
    levels = noise_scheduler().alphas_cumprod
    task = progress.add_task("digits", total=recipe.steps, completed=first)
    for step in range(first, recipe.steps):
        started = time.process_time()
        _set_rate(optimiser, recipe, step)
        batch = draw_batch(
            digits, step, size=recipe.batch_size, train_times=len(levels), drop=recipe.drop, seed=recipe.seed
        )
        loss = noise_error(network, batch, levels).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        spent.spent += time.process_time() - started
        progress.update(task, advance=1, description=f"digits loss {loss.item():.4f}")
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == recipe.steps:
            save_checkpoint(path, parts, step + 1)
    return cast("DigitsNetwork", average.module.eval()), spent.spent


def noise_error(network: DigitsNetwork, batch: Batch, levels: Tensor) -> Tensor:
    """The mean squared error of the predicted noise of each picture over abar, which is that of v, shape (B,).

    Args:
        network: the predictor.
        batch: what it learns from.
        levels: abar of each training time, shape (T,).
    """
    abar = levels[batch.times].reshape(-1, 1, 1, 1)
    seen = abar.sqrt() * batch.pictures + (1 - abar).sqrt() * batch.noise
    predicted = network(seen, batch.times, batch.labels).sample
    return F.mse_loss(predicted, batch.noise, reduction="none").mean((1, 2, 3)) / abar.flatten()


def _set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int) -> None:
    warm = min(1.0, (step + 1) / 100)
    fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate * warm * max(fall, 0.01)


def main() -> None:
    """Read the command line, train, save and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/digits"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the model and its card go")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="of the weights and the batches")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(steps=options.steps, seed=options.seed)
    trained, unseen = load_digits()
    with _progress() as progress:
        network, seconds = train(options.folder, trained, recipe, progress)
        batch = draw_batch(unseen, 0, size=4096, train_times=1000, drop=0.0, seed=recipe.seed + 1)
        with torch.no_grad():
            unseen_loss = float(noise_error(network, batch, noise_scheduler().alphas_cumprod).mean())
        figures = {"optimiser steps": f"{recipe.steps}", "core seconds of training": f"{seconds:.0f}"}
        figures["mean squared error of v on unseen digits"] = f"{unseen_loss:.4f}"
        card = export(options.out, network, noise_scheduler(), (trained, unseen), figures)
        progress.console.print(card, markup=False)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, refresh_per_second=1)


if __name__ == "__main__":
    main()
