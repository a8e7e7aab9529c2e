"""Latents as the sequences that transformers read: squares of side two become tokens."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SIDE = 2
"""Latent rows and columns of one token."""


def to_patches(x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows tokens features"]:
    """A token for each square of 2 x 2, row by row; its features are ordered (channel, row, column)."""
    return F.pixel_unshuffle(x, SIDE).flatten(2).transpose(1, 2)


def from_patches(
    tokens: Float[Tensor, "rows tokens features"], height: int, width: int
) -> Float[Tensor, "rows channels height width"]:
    """The inverse; `height` and `width` are the latent's."""
    squares = tokens.transpose(1, 2).unflatten(2, (height // SIDE, width // SIDE))
    return F.pixel_shuffle(squares, SIDE)


def latent_sides(width: int, height: int, scale_factor: int) -> tuple[int, int]:
    """Rows and columns of the latent of a picture.

    Args:
        width: of the picture, in pixels.
        height: the same.
        scale_factor: pixels for one latent column.

    Raises:
        ValueError: the picture is not made of whole tokens.
    """
    token = SIDE * scale_factor
    if width % token or height % token:
        raise ValueError(f"width and height must be multiples of {token} for this model, are {width} and {height}")
    return height // scale_factor, width // scale_factor
