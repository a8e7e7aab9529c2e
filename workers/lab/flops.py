"""What a forward of a network costs, counted in floating-point operations rather than timed."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from workers.families.base import Family


def forward_flops(family: Family, width: int, height: int) -> int:
    """Floating-point operations of one evaluation of one image.

    Args:
        family: the model.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    texts = family.encode([""])
    latent = torch.zeros(1, *family.latent_shape(width, height), device=family.device)
    # In inference mode operations are not seen one by one; a sample that asks for gradients takes the family out of it.
    with FlopCounterMode(display=False) as counter:
        family.denoise(latent.requires_grad_(), torch.ones(1, device=family.device), texts)
    return int(counter.get_total_flops())
