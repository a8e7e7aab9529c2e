"""How many rows fit into the device's memory: measured at the start, and learned once where that was too many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np
import structlog
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from workers.families.base import Conditioning, Family, ReadsPictures, encode_image
from workers.slots import NO_HISTORIES, Histories

_log = structlog.get_logger(__name__)

Shape = tuple[int, ...]
Stage = Literal["encode", "denoise", "decode", "seat"]
_T = TypeVar("_T")

_SHARE = 0.9  # of the memory that is free: allocators waste some
_MOST_PROMPTS = 64
_TOO_LITTLE = (
    "can't allocate memory",  # the host
    "error: out of memory",  # the driver, where memory was asked for past torch's allocator
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN and their like
    "_ALLOCATION_FAILED",  # cuDNN from 9 on, of the device or the host
)
_MOST_PICTURES = 4
"""Most pictures of one call of the decoder, whose activations are larger than a network's: more gain little."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device, or the host, has too little memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _TOO_LITTLE)


def rows_that_fit(*, few: tuple[int, int], more: tuple[int, int], free: int, most: int) -> int:
    """Most rows of a call whose memory is a line through two measured calls.

    Args:
        few: rows and bytes of one call.
        more: rows and bytes of another, of more rows.
        free: bytes there are.
        most: rows allowed in any case.

    Returns:
        1 to `most`.
    """
    row_bytes = max(0.0, (more[1] - few[1]) / (more[0] - few[0]))
    call_bytes = few[1] - row_bytes * few[0]
    fitting = most if row_bytes == 0 else int((_SHARE * free - call_bytes) / row_bytes)
    return max(1, min(most, fitting))


class BoundedFamily:
    """A family whose calls are split where they would not fit into memory, so that nothing is lost.

    A call that runs out of memory is made again in halves, and no later one is as large.

    Args:
        family: the model.
        most_rows: most rows of one network call, however much memory there is.
        on_out_of_memory: told the stage of each call that ran out of memory.
        histories: what must fit beside the calls; none by default.
    """

    def __init__(
        self,
        family: Family,
        most_rows: int,
        on_out_of_memory: Callable[[Stage], None] = lambda _stage: None,
        histories: Histories = NO_HISTORIES,
    ) -> None:
        self._family = family
        self._most_rows = most_rows
        self._on_out_of_memory = on_out_of_memory
        self._histories = histories
        self._limits: dict[tuple[Stage, Shape], int] = {}
        self.splits = 0
        """Calls that ran out of memory until now."""
        self.device: torch.device = family.device

    def rows(self, shape: Shape) -> int:
        """Most rows of a network call for latents of this shape."""
        return self._limits.get(("denoise", shape), self._most_rows)

    def prepare(self, shape: Shape, texts: Sequence[Conditioning]) -> None:
        """Measure the memory of two calls for a latent shape, once, where the device can say what they take.

        To be called before there is a pool of histories for it.
        """
        if self.device.type != "cuda" or ("denoise", shape) in self._limits:
            return
        few, more = 1, max(2, min(4, self._most_rows))
        taken = [self._bytes(shape, rows, texts[0]) + rows * self._histories.row_bytes(shape) for rows in (few, more)]
        free = _free_bytes(self.device) - self._pictures_bytes(shape) - self._histories.pool_bytes(shape)
        limit = rows_that_fit(few=(few, taken[0]), more=(more, taken[1]), free=free, most=self._most_rows)
        # A call of the measurement may have run out of memory itself, and set a lower one.
        self._limits["denoise", shape] = min(limit, self.rows(shape))
        _log.info("rows measured", shape=shape, rows=self.rows(shape), bytes=dict(zip((few, more), taken, strict=True)))

    def _bytes(self, shape: Shape, rows: int, conditioning: Conditioning) -> int:
        x, t = torch.zeros((rows, *shape), device=self.device), torch.ones(rows, device=self.device)
        return _peak_bytes(self.device, lambda: self.denoise(x, t, [conditioning] * rows))

    def _pictures_bytes(self, shape: Shape) -> int:
        """Of a slice being decoded and a picture being encoded, as there may be both beside a step."""
        decoded: list[UInt8[np.ndarray, "height width 3"]] = []
        latents = torch.zeros((_MOST_PICTURES, *shape), device=self.device)
        decoding = _peak_bytes(self.device, lambda: decoded.extend(self.decode(latents)))
        if not isinstance(self._family, ReadsPictures):
            return decoding
        return decoding + _peak_bytes(self.device, lambda: self.encode_image(decoded[0], torch.Generator("cpu")))

    def latent_shape(self, width: int, height: int) -> Shape:
        """As the family says."""
        return self._family.latent_shape(width, height)

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Conditioning]:
        """As the family does."""

        def encode_part(part: slice) -> list[Conditioning]:
            return self._family.encode(prompts[part], negative=negative)

        parts = self._in_parts("encode", (), _MOST_PROMPTS, len(prompts), encode_part)
        return [conditioning for part in parts for conditioning in part]

    def encode_image(
        self, pixels: UInt8[np.ndarray, "height width 3"], generator: torch.Generator
    ) -> Float32[Tensor, "*latent"]:
        """As the family does, one picture at a time."""
        return encode_image(self._family, pixels, generator)

    def denoise(
        self, x: Float32[Tensor, "rows *latent"], t: Float32[Tensor, "rows"], conditioning: Sequence[Conditioning]
    ) -> Float32[Tensor, "rows *latent"]:
        """One evaluation, in one call if it fits."""
        parts = self._in_parts(
            "denoise",
            tuple(x.shape[1:]),
            self._most_rows,
            len(x),
            lambda s: self._call(x[s], t[s], conditioning[s]),
        )
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _call(
        self, x: Float32[Tensor, "rows *latent"], t: Float32[Tensor, "rows"], conditioning: Sequence[Conditioning]
    ) -> Float32[Tensor, "rows *latent"]:
        return self._family.denoise(x, t, conditioning)

    def combine(
        self,
        conditional: Float32[Tensor, "rows *latent"],
        unconditional: Float32[Tensor, "rows *latent"],
        guidance: Float32[Tensor, "rows"],
    ) -> Float32[Tensor, "rows *latent"]:
        """As the family does."""
        return self._family.combine(conditional, unconditional, guidance)

    def decode(self, x: Float32[Tensor, "n *latent"]) -> UInt8[np.ndarray, "n height width 3"]:
        """Latents to pixels, a few at a time."""
        parts = self._in_parts(
            "decode", tuple(x.shape[1:]), _MOST_PICTURES, len(x), lambda s: self._family.decode(x[s])
        )
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _in_parts(self, stage: Stage, shape: Shape, most: int, count: int, call: Callable[[slice], _T]) -> list[_T]:
        parts: list[_T] = []
        start = 0
        while start < count:
            size = min(self._limits.get((stage, shape), most), count - start)
            try:
                parts.append(call(slice(start, start + size)))
            except Exception as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
            else:
                start += size
                continue
            # Outside of the handler: its error holds on to every tensor of the call that failed.
            self._lower(stage, shape, size // 2)
        return parts

    def _lower(self, stage: Stage, shape: Shape, limit: int) -> None:
        self._limits[stage, shape] = limit
        self.splits += 1
        self._on_out_of_memory(stage)
        _log.warning("out of memory; batches will be smaller", stage=stage, shape=shape, limit=limit)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _free_bytes(device: torch.device) -> int:
    """What the driver has, and what torch holds of it without need."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def _peak_bytes(device: torch.device, call: Callable[[], object]) -> int:
    """Most bytes that a call had allocated above what was so before it."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device) - before)
