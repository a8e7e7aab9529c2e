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

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from pacer.control.work import SLOT_MS, Work
from pacer.jobs.messages import WorkerSpeed

_COMPANY = 0.4
"""Share of what an image can afford to have beside it that batches are reckoned to hold; tight ones break up early."""
_ALONE = 0.3
"""Share of the calls that are reckoned as if images were drawn one at a time."""
_FULL = 0.75
"""Share of the time that promises may take once there are any: turns vary, and a slow one delays everybody in it."""


class Demand(NamedTuple):
    """What is due by a time; what is due before it included.

    Attributes:
        until_s: seconds until then.
        forwards: that are due.
        images: that they are of.
        turns: that the longest of these has left.
    """

    until_s: float
    forwards: float
    images: float
    turns: float


@dataclass(frozen=True, slots=True)
class Later:
    """What is due by the end of each of some slots of time, those before them included; times rising.

    Attributes:
        work: what workers have before them.
        place: which slot of it is the first.
        now_ms: the store's time.
        each: forwards of one image in a turn, about.
    """

    work: Work
    place: int
    now_ms: int
    each: int

    def __len__(self) -> int:
        return len(self.work.slots) - self.place

    def within(self, first: int, end: int) -> Demand:
        """What is due by the end of the last of some slots, were it all due by that of the first of them."""
        work, last = self.work, self.place + end - 1
        until_s = work.slots.item(self.place + first) * (SLOT_MS / 1000) - self.now_ms / 1000
        return Demand(until_s, work.forwards.item(last), work.jobs.item(last), work.longest.item(last) / self.each)


class _Asked(NamedTuple):
    """A request: network calls of an image, forwards of the default size in them together, how many images count."""

    turns: int
    forwards: float
    images: float


class Promise:
    """What workers have promised, for a request that is due at a time.

    Args:
        speed: what a worker measured.
        workers: how many there are.
        begin_s: seconds until a request can join a batch.
        own: what else is due by its own deadline.
        later: what is due after it; None where nothing is.
        again: times that images of a request beyond its first are counted once more, as what its owner holds is.
    """

    def __init__(
        self,
        speed: WorkerSpeed,
        workers: int,
        begin_s: float,
        own: Demand,
        later: Later | None = None,
        *,
        again: float = 0.0,
    ) -> None:
        self._speed, self._workers, self._begin_s = speed, workers, begin_s
        self._own, self._later, self._again = own, later, again
        self._shared = later is not None or own.forwards > 0
        self._held: dict[_Asked, float] = {}  # what is chosen was tried before, and left more to others then

    @property
    def alone(self) -> Promise:
        """The same where nobody else is there."""
        return Promise(self._speed, self._workers, 0.0, Demand(self._own.until_s, 0.0, 0.0, 0.0))

    @property
    def leaves_room(self) -> bool:
        """Whether some of it is left free for other owners."""
        return self._again > 0

    def late_s(self, turns: int, forwards: float, images: int = 1, *, spared: float = 0.0) -> tuple[float, float]:
        """Seconds by which the request would be late, and by which the worst of what is due after it.

        At most 0 where that can be promised.

        Args:
            turns: network calls of an image.
            forwards: of the default size that those in them take as long as.
            images: how many.
            spared: share of what may be promised that is left to others; none where there are no others.
        """
        share = _FULL * (1 - spared) if self._shared else 1.0
        asked = _Asked(turns, forwards, images + self._again * (images - 1))
        return self._own_late_s(asked, share), self._later_late_s(asked, share)

    def holds(self, turns: int, forwards: float, images: int = 1, *, spared: float = 0.0) -> bool:
        """Whether nobody would be late; arguments as for `late_s`."""
        share = _FULL * (1 - spared) if self._shared else 1.0
        asked = _Asked(turns, forwards, images + self._again * (images - 1))
        if self._held.get(asked, inf) <= share:
            return True
        held = self._own_late_s(asked, share) <= 0 and self._later_late_s(asked, share, 0.0) <= 0
        if held:
            self._held[asked] = share
        return held

    def _own_late_s(self, asked: _Asked, share: float) -> float:
        return self._late_by_s(self._own, asked, share)

    def _later_late_s(self, asked: _Asked, share: float, least: float = -inf) -> float:
        """Seconds by which the worst of what is due later would be late, or `least` where that is more.

        Found by halves: nothing in some slots is later than all that is due by the last of them would be, were it due
        by the first, as nothing takes longer for having more time. Where that is no worse than what is known, there is
        no need to look at them.
        """
        later = self._later
        if later is None:
            return least

        def worst_s(first: int, end: int, least: float) -> float:
            most = self._late_by_s(later.within(first, end), asked, share)
            if most <= least or end - first == 1:
                return max(most, least)
            middle = (first + end) // 2
            return worst_s(middle, end, worst_s(first, middle, least))

        return worst_s(0, len(later), least)

    def _late_by_s(self, due: Demand, asked: _Asked, share: float) -> float:
        """Seconds by which what is due by a time would be late, the request included.

        Args:
            due: what is due.
            asked: the request.
            share: of the time until then, that it may take.
        """
        turns, forwards, images = asked
        speed, workers, each = self._speed, self._workers, forwards / turns
        until_s = due.until_s - speed.deliver_seconds
        work, longest = (due.forwards + forwards * images) / workers, max(due.turns, turns)
        affordable = _COMPANY * (until_s / longest - speed.turn_seconds) / max(speed.row_seconds, 1e-9)
        rows = min(max(affordable, each), max(each, speed.rows))
        calls = (1 - _ALONE) * max(longest, work / rows) + _ALONE * max(longest, work / each)
        drawn = (due.images + images) / workers * (speed.encode_seconds + speed.decode_seconds)
        needed_s = self._begin_s + calls * speed.turn_seconds + work * speed.row_seconds + drawn
        return needed_s - share * until_s
