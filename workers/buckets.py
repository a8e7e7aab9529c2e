"""Batches of a few sizes: what is recorded for one number of rows, as a CUDA graph is, serves no other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from workers.conditioning import signature
from workers.families.base import Conditioning
from workers.memory import BoundedFamily, Shape


class BucketedFamily(BoundedFamily):
    """A family whose network calls have 1, 2, 4, 8, ... rows, or as many as fit; batches are filled up with copies."""

    def sizes(self, shape: Shape) -> tuple[int, ...]:
        """Rows that calls for latents of this shape may have, rising."""
        most = self.rows(shape)
        return (*(2**power for power in range((most - 1).bit_length())), most)

    def denoise(
        self, x: Float32[Tensor, "rows *latent"], t: Float32[Tensor, "rows"], conditioning: Sequence[Conditioning]
    ) -> Float32[Tensor, "rows *latent"]:
        """One evaluation."""
        outputs = torch.empty_like(x)
        sizes = self.sizes(tuple(x.shape[1:]))
        for start in range(0, len(x), sizes[-1]):
            part = list(range(start, min(start + sizes[-1], len(x))))
            size = next(size for size in sizes if size >= len(part))
            full = part + part[:1] * (size - len(part))
            made = super().denoise(x[full], t[full], [conditioning[place] for place in full])
            outputs[part] = made[: len(part)]
        return outputs

    def _call(
        self, x: Float32[Tensor, "rows *latent"], t: Float32[Tensor, "rows"], conditioning: Sequence[Conditioning]
    ) -> Float32[Tensor, "rows *latent"]:
        # A graph that is replayed writes over its last output.
        return super()._call(x, t, conditioning).clone()


def require_one_length(texts: Sequence[Conditioning]) -> None:
    """Make sure that the shapes of a network's inputs do not depend on prompts, or each length would be recorded.

    Args:
        texts: of a short and of a long prompt.

    Raises:
        ValueError: they do.
    """
    if len({signature(text) for text in texts}) > 1:
        raise ValueError(
            "PACER_CUDA_GRAPHS does not go with this model: its texts are as long as their prompts, and a graph would "
            "be recorded for each length; leave it out"
        )
