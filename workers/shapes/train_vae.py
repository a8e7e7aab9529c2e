"""Training of the autoencoder: L1 + 2 MSE + a little KL, AdamW with a cosine."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F

from workers.shapes.architecture import build_vae
from workers.shapes.checkpoint import load_checkpoint, save_checkpoint
from workers.shapes.data import PictureStream

_KL_WEIGHT = 5e-4  # per latent element
_PEAK_RATE = 2e-3
_WARMUP = 100
_SAVE_EVERY = 200
_CHECKED = 256  # pictures of a round trip


def train_vae(folder: Path, *, steps: int, batch_size: int, device: torch.device, progress: Progress) -> AutoencoderKL:
    """Train the autoencoder, or go on with the checkpoint in the folder.

    The batch and the noise of a step are functions of its number, so an interrupted run and a whole one agree.

    Args:
        folder: where checkpoints go.
        steps: optimiser steps in all.
        batch_size: pictures a step.
        device: CPU or CUDA.
        progress: shows the loss, the round trip in dB and the time left.
    """
    torch.manual_seed(0)
    vae = build_vae().to(device)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=_PEAK_RATE, weight_decay=1e-4)
    path = folder / "vae.pt"
    first = load_checkpoint(path, {"vae": vae, "optimiser": optimiser}, device)
    stream = PictureStream(seed=1, batch_size=batch_size)
    task = progress.add_task("vae", total=steps, completed=first)
    for step in range(first, steps):
        _set_rate(optimiser, step, steps)
        pixels, _ = stream.batch(step)
        loss, mse = _losses(vae, pixels.to(device), torch.Generator().manual_seed(step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        progress.update(task, advance=1, description=f"vae loss {loss.item():.4f} {psnr(mse):.1f} dB")
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == steps:
            save_checkpoint(path, {"vae": vae, "optimiser": optimiser}, step + 1)
            progress.console.print(
                f"vae step {step + 1} loss {loss.item():.4f} round trip {round_trip_db(vae, device, _CHECKED):.2f} dB"
            )
    return vae


def _set_rate(optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
    warm = min(1.0, (step + 1) / _WARMUP)
    fall = 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimiser.param_groups:
        group["lr"] = _PEAK_RATE * warm * max(fall, 0.01)


def _losses(vae: AutoencoderKL, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=pixels.device.type == "cuda"):
        posterior = vae.encode(pixels).latent_dist
        decoded = vae.decode(posterior.sample(generator)).sample.float()
    mse = F.mse_loss(decoded, pixels)
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1.0 - posterior.logvar).mean()
    return F.l1_loss(decoded, pixels) + 2 * mse + _KL_WEIGHT * kl, mse.item()


def psnr(mse: float) -> float:
    """Peak signal to noise in dB of a mean squared error between images in -1..1."""
    return 10 * math.log10(4.0 / max(mse, 1e-12))


@torch.no_grad()
def round_trip_db(vae: AutoencoderKL, device: torch.device, pictures: int = _CHECKED) -> float:
    """Mean PSNR in dB of encode (mode) and decode on pictures that training never draws."""
    total, stream = 0.0, PictureStream(seed=990, batch_size=min(64, pictures))
    for index in range(-(-pictures // 64)):
        pixels = stream.batch(index)[0][: pictures - 64 * index].to(device)
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
        total += sum(psnr(float(mse)) for mse in (decoded - pixels).square().mean((1, 2, 3)))
    return total / pictures
