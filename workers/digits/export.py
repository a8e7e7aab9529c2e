"""Save digits-8 and judge it: a card with figures beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from workers.digits.data import Digits
from workers.digits.network import DIGITS, DigitsNetwork, load_network

_DRAWN = 500
_STEPS = 50
_CARD = """# digits-8

Draws handwritten digits of 8x8 pixels. It predicts noise (epsilon) and is told the digit, 0 to 9, or 10 for any; 10 %
of the labels were left out in training, so that classifier-free guidance works. Its data are the 1797 digits that
scikit-learn carries (E. Alpaydin and C. Kaynak, UCI Optical Recognition of Handwritten Digits, CC BY 4.0). Float16
weights, Apache-2.0.

    from workers.digits.network import load_network
    noise = load_network()(x, t, digits).sample  # x (B, 1, 8, 8) of unit variance, t in 0..999

`scheduler` holds the configuration of a stock DDPMScheduler, which DDIMScheduler and others load as well.
Trained by `python -m workers.digits.train`.

| figure | value |
|---|---|
{rows}

Recognised: share of {drawn} drawn digits whose nearest training picture is that digit; {steps} DDIM steps.
"""


def export(
    folder: Path,
    network: DigitsNetwork,
    scheduler: DDPMScheduler,
    digits: tuple[Digits, Digits],
    figures: Mapping[str, str],
) -> str:
    """Save the network in float16, and its card.

    Args:
        folder: where the files go.
        network: trained, float32.
        scheduler: with the noise that it was trained under.
        digits: the pictures that were trained on, and those that were not.
        figures: further rows of the card.

    Returns:
        The card.
    """
    network.half().save_pretrained(folder, safe_serialization=True)
    scheduler.save_pretrained(folder / "scheduler")
    saved = load_network(folder)
    trained, unseen = digits
    rows = {
        "parameters": f"{sum(p.numel() for p in saved.parameters()):,}",
        **figures,
        "recognised of unseen real digits": f"{_share(recognised(unseen.pictures, unseen.labels, trained))}",
    }
    labels = torch.arange(_DRAWN) % DIGITS
    for scale in (1.0, 1.5, 3.0):
        passed = recognised(draw(saved, folder, labels, scale), labels, trained)
        rows[f"recognised at guidance {scale:g}"] = _share(passed)
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    card = _CARD.format(rows=table, drawn=_DRAWN, steps=_STEPS)
    (folder / "README.md").write_text(card)
    return card


@torch.no_grad()
def draw(network: DigitsNetwork, folder: Path, labels: Tensor, guidance_scale: float) -> Tensor:
    """Digits by stock DDIM from seed 0, shape (B, 1, 8, 8)."""
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(_STEPS)
    x = torch.randn((len(labels), 1, 8, 8), generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        any_digit = network(x, t).sample
        noise = any_digit + guidance_scale * (network(x, t, labels).sample - any_digit)
        x = scheduler.step(noise, t, x, return_dict=False)[0]
    return x


def recognised(pictures: Tensor, labels: Tensor, known: Digits) -> Tensor:
    """Whether each picture's nearest known picture has its label, shape (n,), bool."""
    nearest = torch.cdist(pictures.flatten(1), known.pictures.flatten(1)).argmin(1)
    return known.labels[nearest] == labels


def _share(passed: Tensor) -> str:
    return f"{float(passed.double().mean()):.3f}"
