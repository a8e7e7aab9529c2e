"""Rows of one call shared out among threads of the CPU.

A small network's matrices are too small for torch to share out among cores: on two of them shapes-64 draws a third more
when each takes half of the rows on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from schedules.search.problem import Field

_LEAST = 8  # rows a thread; with fewer the calls themselves take the time

Shared = Callable[[Field], Field]
"""From a network to the same one that shares its rows out."""


def unshared(field: Field) -> Field:
    """The network as it is."""
    return field


def row_threads(count: int) -> Shared:
    """Share rows out among so many threads, which torch divides no further; calls with gradients are left alone.

    Args:
        count: of threads, >= 1; with 1 networks stay as they are.
    """
    if count < 1:
        raise ValueError(f"count: must be at least 1, is {count}")
    if count == 1:
        return unshared
    pool = ThreadPoolExecutor(count, thread_name_prefix="rows", initializer=torch.set_num_threads, initargs=(1,))

    def shared(field: Field) -> Field:
        def call(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
            parts = min(count, len(x) // _LEAST)
            if parts < 2 or torch.is_grad_enabled():
                return field(x, t, rows)
            split = (each.tensor_split(parts) for each in (x, t, rows))
            return torch.cat(list(pool.map(_without_gradients, [field] * parts, *split)))

        return call

    return shared


def _without_gradients(field: Field, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
    with torch.no_grad():  # each thread has a mode of its own
        return field(x, t, rows)
