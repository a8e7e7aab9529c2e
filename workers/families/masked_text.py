"""Prompts for networks that attend to padded text under a mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from diffusers.utils import is_bs4_available, is_ftfy_available
from jaxtyping import Float, Int64
from torch import Tensor

CLEANS_CAPTIONS = is_bs4_available() and is_ftfy_available()
"""Whether the libraries are there with which the stock pipelines clean prompts by default."""


@dataclass(frozen=True, slots=True)
class MaskedText:
    """A prompt of one fixed length, so that company of another length changes nothing; the mask is 0 on padding."""

    tokens: Float[Tensor, "tokens width"]
    mask: Int64[Tensor, "tokens"]

    @classmethod
    def each(cls, tokens: Float[Tensor, "n tokens width"], mask: Int64[Tensor, "n tokens"]) -> list[MaskedText]:
        """One for each prompt of a batch."""
        return [cls(*pair) for pair in zip(tokens, mask, strict=True)]


def stacked(texts: Iterable[MaskedText]) -> tuple[Float[Tensor, "n tokens width"], Int64[Tensor, "n tokens"]]:
    """Tokens and masks of several prompts as a batch."""
    pairs: Sequence[MaskedText] = list(texts)
    return torch.stack([text.tokens for text in pairs]), torch.stack([text.mask for text in pairs])
