"""What the store says of workers, in the planner's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from pacer.control.inflow import Inflow
from pacer.control.load import Load
from pacer.control.picture_size import at_size
from pacer.control.work import Work
from pacer.jobs.messages import WorkerSpeed

ToldWorkers: TypeAlias = tuple[int, list[bytes], int, bytes, list[bytes], list[bytes], int, bytes | None]
"""The reply of workers.lua."""


def told_load(told: ToldWorkers, weights: Mapping[str, float], *, late_last: bool) -> Load | None:
    """What the live workers measured and have before them; None before the first of them measured.

    Args:
        told: by the store.
        weights: shares of owners.
        late_last: whether the workers' policy steps last what is late.
    """
    _, packed, now_ms, work, owed, inflow, promises, due = told
    speeds = [msgspec.msgpack.decode(speed, type=WorkerSpeed) for speed in packed]
    if not speeds:
        return None
    counted, came = Work.read(work, now_ms), Inflow(*map(float, inflow))
    own = None if due is None else Work.read(due, now_ms)
    return Load(_mean(speeds), len(speeds), now_ms, counted, _counts(owed), weights, came, promises, own, late_last)


def _mean(speeds: Sequence[WorkerSpeed]) -> WorkerSpeed:
    """Of several workers; who has not drawn a size that another has, counts for it by its pixels."""
    *columns, _, sizes = zip(*(msgspec.structs.astuple(speed) for speed in speeds), strict=True)
    rows = {
        pixels: sum(at_size(speed, pixels).row_seconds for speed in speeds) / len(speeds)
        for pixels in {pixels for known in sizes for pixels in known}
    }
    means = (sum(values) / len(speeds) for values in columns)
    pixels = max(speed.pixels for speed in speeds)
    return msgspec.structs.replace(WorkerSpeed(*means), pixels=pixels, sizes=rows)


def _counts(pairs: Sequence[bytes]) -> dict[str, int]:
    return {name.decode(): int(count) for name, count in zip(pairs[::2], pairs[1::2], strict=True)}
