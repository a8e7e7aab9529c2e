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

from collections.abc import Callable
from math import inf
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from pacer.jobs.messages import WorkerSpeed
from schedules.table import FloatArray

_COMPANY = 0.4
"""Share of what an image can afford to have beside it that batches are reckoned to hold; tight ones break up early."""
_ALONE = 0.3
"""Share of the calls that are reckoned as if images were drawn one at a time."""
_FULL = 0.75
"""Share of the time that promises may take once there are any: turns vary, and a slow one delays everybody in it."""


_Numbers = TypeVar("_Numbers", float, FloatArray)


class Demand(NamedTuple, Generic[_Numbers]):
    """What is due by a time, or by each of some times, shape (n,); what is due before it included.

    Attributes:
        until_s: seconds until then.
        forwards: that are due.
        images: that they are of.
        turns: that the longest of these has left.
    """

    until_s: _Numbers
    forwards: _Numbers
    images: _Numbers
    turns: _Numbers


class _Asked(NamedTuple):
    """A request: network calls of an image, forwards in them together, and how many images."""

    turns: int
    forwards: int
    images: int


class Promise:
    """What workers have promised, for a request that is due at a time.

    Args:
        speed: what a worker measured.
        workers: how many there are.
        begin_s: seconds until a request can join a batch.
        own: what else is due by its own deadline.
        later: the same for later times; None where nothing is due after it.
    """

    def __init__(
        self,
        speed: WorkerSpeed,
        workers: int,
        begin_s: float,
        own: Demand[float],
        later: Demand[FloatArray] | None = None,
    ) -> None:
        self._speed, self._workers, self._begin_s = speed, workers, begin_s
        self._own, self._later = own, later
        self._shared = later is not None or own.forwards > 0
        self._known: dict[_Asked, FloatArray] = {}
        self._held: dict[_Asked, float] = {}  # what is chosen was tried before, and left more to others then

    def late_s(self, turns: int, forwards: int, images: int = 1, *, spared: float = 0.0) -> tuple[float, float]:
        """Seconds by which the request would be late, and by which the worst of what is due after it.

        At most 0 where that can be promised.

        Args:
            turns: network calls of an image.
            forwards: in them together.
            images: how many.
            spared: share of what may be promised that is left to others; none where there are no others.
        """
        share = _FULL * (1 - spared) if self._shared else 1.0
        asked = _Asked(turns, forwards, images)
        return self._own_late_s(asked, share), self._later_late_s(asked, share)

    def holds(self, turns: int, forwards: int, images: int = 1, *, spared: float = 0.0) -> bool:
        """Whether nobody would be late; arguments as for `late_s`."""
        share = _FULL * (1 - spared) if self._shared else 1.0
        asked = _Asked(turns, forwards, images)
        if self._held.get(asked, inf) <= share:
            return True
        held = self._own_late_s(asked, share) <= 0 and self._later_late_s(asked, share) <= 0
        if held:
            self._held[asked] = share
        return held

    def _own_late_s(self, asked: _Asked, share: float) -> float:
        needed_s = self._needed_s(self._own, asked, min, max)
        return needed_s - share * (self._own.until_s - self._speed.deliver_seconds)

    def _later_late_s(self, asked: _Asked, share: float) -> float:
        if self._later is None:
            return -inf
        if asked not in self._known:
            self._known[asked] = self._needed_s(self._later, asked, np.minimum, np.maximum)
        late = self._known[asked] - share * (self._later.until_s - self._speed.deliver_seconds)
        return float(late.max())

    def _needed_s(
        self, due: Demand[_Numbers], asked: _Asked, least: Callable[..., _Numbers], most: Callable[..., _Numbers]
    ) -> _Numbers:
        """Seconds that workers take for what is due by a time, the request included.

        Args:
            due: by one time or by several.
            asked: the request.
            least: the smaller of two of such numbers.
            most: the larger.
        """
        turns, forwards, images = asked
        speed, each = self._speed, forwards / turns
        work, longest = (due.forwards + forwards * images) / self._workers, most(due.turns, turns)
        until_s = due.until_s - speed.deliver_seconds
        affordable = (until_s / longest - speed.turn_seconds) / max(speed.row_seconds, 1e-9)
        rows = least(most(_COMPANY * affordable, each), max(each, speed.rows))
        together = most(longest, work / rows)
        calls = (1 - _ALONE) * together + _ALONE * most(together, work / each)
        drawn = (due.images + images) / self._workers * (speed.encode_seconds + speed.decode_seconds)
        needed: _Numbers = self._begin_s + calls * speed.turn_seconds + work * speed.row_seconds + drawn
        return needed
