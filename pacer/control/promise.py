"""What may be promised: whether one image more can be in time, and everything due after it stay so.

What is due by a time is feasible if it takes no longer than there is until then (demand bound: Baruah, Rosier and
Howell, 1990). Here that work is done in turns that many images share, of which an image takes part in one at a time, as
a job runs on one of several processors (Liu, 1969), so that it takes

    calls x turn + forwards x row + images x (prompt + picture),

where there are as many calls as the longest image has steps, or as batches of a size that it can afford need to hold
all forwards; and some more, as companies break up. Aggregates by deadline suffice for that, so it costs the same
however many jobs there are. docs/experiments.md, "what may be promised", has the trials behind the constants.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from pacer.jobs.messages import WorkerSpeed
from schedules.table import FloatArray

_COMPANY = 0.4
"""Share of what an image can afford to have beside it that batches are reckoned to hold; tight ones break up early."""
_ALONE = 0.3
"""Share of the calls that are reckoned as if images were drawn one at a time."""
_FULL = 0.92
"""Share of the time that promises may take once there are any: what a worker's own clock is known to."""


class Demand(NamedTuple):
    """What is due by each of some times, shape (n,): before the request at its own deadline, then later, all included.

    Attributes:
        until_s: seconds until then.
        forwards: that are due.
        images: that they are of.
        turns: that the longest of these has left.
    """

    until_s: FloatArray
    forwards: FloatArray
    images: FloatArray
    turns: FloatArray


class Promise:
    """What workers have promised, for a request that is due at a time.

    Args:
        speed: what a worker measured.
        workers: how many there are.
        begin_s: seconds until a request can join a batch.
        demand: what else is due by its deadline, and by each later time.
    """

    def __init__(self, speed: WorkerSpeed, workers: int, begin_s: float, demand: Demand) -> None:
        self._speed, self._workers, self._begin_s = speed, workers, begin_s
        self._demand, self._until_s = demand, demand.until_s - speed.deliver_seconds
        self._shared = bool(demand.forwards.any())
        self._needed_s = cache(self._needed)  # what was tried is checked once more when it was chosen

    def late_s(self, turns: int, forwards: int, images: int = 1, *, spared: float = 0.0) -> tuple[float, float]:
        """Seconds by which the request would be late, and by which the worst of what is due after it.

        At most 0 where that can be promised.

        Args:
            turns: network calls of an image.
            forwards: in them together.
            images: how many.
            spared: share of the time that is left to others; none where there are no others.
        """
        share = _FULL - spared if self._shared else 1.0
        late = self._needed_s(turns, forwards, images) - share * self._until_s
        return float(late[0]), float(late[1:].max(initial=-np.inf))

    def _needed(self, turns: int, forwards: int, images: int) -> FloatArray:
        """Seconds that workers take for what is due by each time, the request included."""
        speed, due, each = self._speed, self._demand, forwards / turns
        work, longest = (due.forwards + forwards * images) / self._workers, np.maximum(due.turns, turns)
        affordable = (self._until_s / longest - speed.turn_seconds) / max(speed.row_seconds, 1e-9)
        rows = np.minimum(np.maximum(_COMPANY * affordable, each), max(each, speed.rows))
        together = np.maximum(longest, work / rows)
        calls = (1 - _ALONE) * together + _ALONE * np.maximum(together, work / each)
        drawn = (due.images + images) / self._workers * (speed.encode_seconds + speed.decode_seconds)
        needed: FloatArray = self._begin_s + calls * speed.turn_seconds + work * speed.row_seconds + drawn
        return needed
