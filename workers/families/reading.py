"""From pictures to latents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor


def as_input(pixels: UInt8[np.ndarray, "height width 3"], vae: Any) -> Float[Tensor, "1 3 height width"]:
    """Pixels as an autoencoder takes them, -1 to 1, on its device and in its dtype."""
    shares = torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
    return (2.0 * shares - 1.0).to(vae.device, vae.dtype)


def encoded(vae: Any, pictures: Float[Tensor, "1 3 ..."], generator: torch.Generator | None) -> Tensor:
    """What an autoencoder makes of a picture, float32, before any normalisation.

    Args:
        vae: the autoencoder.
        pictures: one of them.
        generator: draws the latent from the autoencoder's distribution, where that has one; None takes its mode.
    """
    output = vae.encode(pictures)
    if not hasattr(output, "latent_dist"):
        certain: Tensor = output.latent
        return certain.float()
    distribution = output.latent_dist
    latents: Tensor = distribution.mode() if generator is None else distribution.sample(generator)
    return latents.float()


def read_scaled(
    pipeline: Any, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
) -> Float32[Tensor, "channels rows columns"]:
    """Run the autoencoder, and give its latents one shift and one scale for all channels."""
    vae = pipeline.vae
    latents = encoded(vae, as_input(pixels, vae), generator)[0]
    scaled: Tensor = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    return scaled
