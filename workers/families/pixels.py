"""From latents to pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor


def paint_scaled(pipeline: Any, x: Float32[Tensor, "n channels rows columns"]) -> Float32[Tensor, "n 3 height width"]:
    """Undo one scale and one shift for all channels, and run the autoencoder."""
    vae = pipeline.vae
    latents = x.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
    return painted(pipeline, vae.decode(latents, return_dict=False)[0])


def painted(pipeline: Any, images: Tensor) -> Float32[Tensor, "n 3 height width"]:
    """The autoencoder's output, -1 to 1, as sRGB from 0 to 255."""
    pictures: Tensor = pipeline.image_processor.postprocess(images.float(), output_type="pt")
    return pictures * 255


def in_whole_levels(pictures: Float32[Tensor, "n 3 height width"]) -> UInt8[np.ndarray, "n height width 3"]:
    """Rounded as the stock pipelines do."""
    return np.asarray(pictures.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
