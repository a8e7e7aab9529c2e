"""Attention over many equal text tokens at the price of one.

StableDiffusion3Pipeline without a T5 encoder pads its text with 256 zero vectors. Text tokens carry no position, so
these stay equal to each other through every block, and attention to n equal keys is attention to one key whose logit is
raised by log n. One token thus stands for all of them, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

STOCK_ZERO_TOKENS = 256
"""Zero vectors that the stock pipeline appends (its max_sequence_length by default)."""


Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


class FoldedTextProcessor:
    """Joint attention in which the last text token stands for `copies` equal ones.

    Args:
        copies: how many tokens the last one stands for.
        attend: (query, key, value, bias) -> mixed values; torch's fused attention by default.
    """

    def __init__(self, copies: int = STOCK_ZERO_TOKENS, attend: Attend = F.scaled_dot_product_attention) -> None:
        self._raise = math.log(copies)
        self._attend = attend

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "batch image width"],
        encoder_hidden_states: Float[Tensor, "batch text width"] | None = None,
        attention_mask: Tensor | None = None,  # noqa: ARG002  part of the processors' signature
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend over image tokens (batch, n, d) and text tokens (batch, m, d); the last text one is the folded one."""
        parts = [_project(attn, hidden_states, ("to_q", "to_k", "to_v"), ("norm_q", "norm_k"))]
        if encoder_hidden_states is not None:
            names = ("add_q_proj", "add_k_proj", "add_v_proj"), ("norm_added_q", "norm_added_k")
            parts.append(_project(attn, encoder_hidden_states, *names))
        query, key, value = (torch.cat(tensors, dim=2) for tensors in zip(*parts, strict=True))
        bias = None
        if encoder_hidden_states is not None:
            bias = query.new_zeros(1, 1, 1, key.shape[2])
            bias[..., -1] = self._raise
        mixed = self._attend(query, key, value, bias)
        mixed = mixed.transpose(1, 2).flatten(2).to(query.dtype)
        image: Tensor = attn.to_out[1](attn.to_out[0](mixed[:, : hidden_states.shape[1]]))
        if encoder_hidden_states is None:
            return image
        text = mixed[:, hidden_states.shape[1] :]
        return image, text if attn.context_pre_only else attn.to_add_out(text)


def _project(
    attn: Attention, tokens: Tensor, projections: tuple[str, str, str], norms: tuple[str, str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of tokens (batch, n, d), each (batch, heads, n, d / heads), queries and keys normalised."""
    query, key, value = (
        getattr(attn, name)(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2) for name in projections
    )
    norm_q, norm_k = (getattr(attn, name) for name in norms)
    return query if norm_q is None else norm_q(query), key if norm_k is None else norm_k(key), value
