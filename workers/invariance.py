"""Batch invariance: a request's bits do not depend on its company.

Kernels choose how to sum by the shape of a batch, and some by a row's place in it. So every network call gets the same
number of rows, and that number is one with which this device was seen to give a row the same bits at every place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import structlog
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from workers.conditioning import Signature, signature
from workers.families.base import Conditioning, Family
from workers.memory import BoundedFamily, Shape

_log = structlog.get_logger(__name__)


class InvariantFamily:
    """A family whose calls all have the same shape: prompts and pictures one at a time, rows padded to a fixed number.

    The number is found for each latent shape before its first call: the most rows that fit, halved until rows of such
    a batch keep their bits at other places and in other company. One row alone always does. Where memory runs out
    later, a smaller number is found, and pictures from then on may have other bits than those before.

    Args:
        family: the model, and how many rows fit.
    """

    def __init__(self, family: BoundedFamily) -> None:
        self._family = family
        self._fixed: dict[Shape, int] = {}
        self.device: torch.device = family.device

    def rows(self, shape: Shape) -> int:
        """Rows of every network call for latents of this shape."""
        return self._fixed.get(shape, self._family.rows(shape))

    def prepare(self, shape: Shape, texts: Sequence[Conditioning]) -> None:
        """Find the number of rows for a latent shape, unless it is known and still fits."""
        self._family.prepare(shape, texts)
        rows = self._family.rows(shape)
        if self._fixed.get(shape, rows + 1) <= rows:
            return
        while rows > 1 and not keeps_bits(self._family, shape, rows, texts):
            rows //= 2
        self._fixed[shape] = rows
        _log.info("rows of every call fixed", shape=shape, rows=rows)

    def latent_shape(self, width: int, height: int) -> Shape:
        """As the family says."""
        return self._family.latent_shape(width, height)

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Conditioning]:
        """Each prompt alone."""
        return [text for prompt in prompts for text in self._family.encode([prompt], negative=negative)]

    def encode_image(
        self, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
    ) -> Float32[Tensor, "*latent"]:
        """As the family does, one picture at a time."""
        return self._family.encode_image(pixels, generator)

    def denoise(
        self, x: Float32[Tensor, "rows *latent"], t: Float32[Tensor, "rows"], conditioning: Sequence[Conditioning]
    ) -> Float32[Tensor, "rows *latent"]:
        """One evaluation; texts of different length never meet, since one would be padded to the other's."""
        self.prepare(tuple(x.shape[1:]), conditioning[:2])
        groups: dict[Signature, list[int]] = {}
        for place, text in enumerate(conditioning):
            groups.setdefault(signature(text), []).append(place)
        outputs = torch.empty_like(x)
        size = self.rows(tuple(x.shape[1:]))
        for places in groups.values():
            for start in range(0, len(places), size):
                part = places[start : start + size]
                full = part + part[:1] * (size - len(part))
                outputs[part] = self._family.denoise(x[full], t[full], [conditioning[i] for i in full])[: len(part)]
        return outputs

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """Each row alone, since a family may sum over it."""
        rows = zip(conditional.split(1), unconditional.split(1), guidance.split(1), strict=True)
        return torch.cat([self._family.combine(*row) for row in rows])

    def decode(self, x: Float32[Tensor, "n *latent"]) -> UInt8[np.ndarray, "n height width 3"]:
        """Each latent alone."""
        return np.concatenate([self._family.decode(latent) for latent in x.split(1)])


@torch.inference_mode()
def keeps_bits(family: Family, shape: Shape, rows: int, texts: Sequence[Conditioning]) -> bool:
    """Whether the rows of a batch keep their bits when they change places, and when their company changes.

    Args:
        family: asked for five evaluations.
        shape: of a latent.
        rows: of the batch.
        texts: conditionings for them, at least one; all must have one signature, or the first is used alone.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    x = torch.randn((2 * rows, *shape), generator=generator).to(family.device)
    t = (1000 * torch.rand(2 * rows, generator=generator)).to(family.device)
    alike = len({signature(text) for text in texts}) == 1
    chosen = [texts[place % len(texts) if alike else 0] for place in range(2 * rows)]

    def outputs(places: Sequence[int]) -> Tensor:
        index = torch.tensor(places, device=family.device)
        return family.denoise(x[index], t[index], [chosen[place] for place in places])

    first = list(range(rows))
    expected = outputs(first)
    moved = (first[::-1], first[1:] + first[:1], first[rows // 2 :] + first[: rows // 2])
    if not all(torch.equal(outputs(places), expected[places]) for places in moved):
        return False
    # Every other row is replaced by a stranger.
    mixed = [place if place % 2 else place + rows for place in first]
    return torch.equal(outputs(mixed)[1::2], expected[1::2])
