"""Training a network step by step, with an average of its weights; it goes on where it was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import torch
from rich.progress import Progress
from torch import Tensor, nn

from workers.shapes.checkpoint import load_checkpoint, save_checkpoint
from workers.shapes.recipe import FlowRecipe, History

_SAVE_EVERY = 100

_Network = TypeVar("_Network", bound=nn.Module)


def train_averaged(
    model: _Network,
    path: Path,
    recipe: FlowRecipe,
    loss: Callable[[int], Tensor],
    *,
    pictures: int,
    device: torch.device,
    progress: Progress,
    name: str,
) -> _Network:
    """Train a network, or go on with its checkpoint; returns the averaged one.

    Args:
        model: the network, on its device.
        path: of the checkpoint, which says with which recipes it was trained.
        recipe: how.
        loss: of a step, by its number alone, so that an interrupted run and a whole one agree.
        pictures: in the pool that the steps draw from.
        device: CPU or CUDA.
        progress: shows the loss and the time left.
        name: what is shown there.
    """
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average_decay)
    )
    optimisers = build_optimisers(model)
    history = History()
    parts = {"model": model, "average": average, **{f"optimiser{i}": o for i, o in enumerate(optimisers)}}
    first = load_checkpoint(path, parts, device, optional={"history": history})
    if first < recipe.steps:
        history.go_on(first, pictures, recipe)
    parts["history"] = history
    task, started, smooth = progress.add_task(name, total=recipe.steps, completed=first), time.monotonic(), 0.0
    for step in range(first, recipe.steps):
        value = loss(step)
        _update(model, optimisers, value, recipe.rate(step))
        average.update_parameters(model)
        smooth = value.item() if step == first else 0.98 * smooth + 0.02 * value.item()
        progress.update(task, advance=1, description=f"{name} loss {smooth:.4g}")
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == recipe.steps:
            save_checkpoint(path, parts, step + 1)
            seen = (step + 1 - first) * recipe.batch_size / (time.monotonic() - started)
            progress.console.print(f"{name} step {step + 1} loss {smooth:.4g} {seen:.0f} pictures/s")
    return cast("_Network", average.module)


def _update(model: nn.Module, optimisers: list[torch.optim.Optimizer], loss: Tensor, rate: float) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def build_optimisers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, modulations, projections and vectors."""
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    for name, parameter in model.named_parameters():
        in_block = "transformer_blocks" in name and ("attn" in name or ".ff" in name)
        (inner if in_block and parameter.ndim == 2 else outer).append(parameter)
    muon = torch.optim.Muon([{"params": inner, "share": 1.0}], weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW([{"params": outer, "share": 0.5}], betas=(0.9, 0.98), weight_decay=0.0)
    return [muon, adamw]
