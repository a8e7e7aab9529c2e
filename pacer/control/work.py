"""The work that is still to be made, by when it is due: what the store's sums say.

The store sums the forwards of the network that are still to be made, and the jobs that they are of, in slots of time,
so that reading them costs the same however many jobs there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import truediv
from typing import Self

SLOT_MS = 100
_FAR_MS, _COARSE = 10_000, 10  # what is due later than that is kept in slots so many times as wide
_DUE, _HOPED = "d", "b"  # forwards of requests with a deadline, and of those without
_DUE_JOBS, _HOPED_JOBS = "n", "m"  # how many jobs they are of


def slot_at(due_ms: float, now_ms: float) -> int:
    """The slot in which the store counts what is due at a time, in units of 100 ms; far ones are rounded down."""
    slot = int(due_ms // SLOT_MS)
    return slot if due_ms - now_ms <= _FAR_MS else slot - slot % _COARSE


@dataclass(frozen=True, slots=True)
class Work:
    """What workers have before them, slots rising.

    Attributes:
        slots: of what has a deadline; those that are past are left out, as it will be given up.
        forwards: that are due by the end of each of them, those before it included.
        jobs: that they are of.
        longest: the most forwards that a job of them has left, the mean of its slot.
        hoped_slots: of best effort, which is never given up.
        hoped_forwards: by the end of each of them, those before it included.
        hoped_jobs: all of them.
    """

    slots: Sequence[int]
    forwards: Sequence[int]
    jobs: Sequence[int]
    longest: Sequence[float]
    hoped_slots: Sequence[int]
    hoped_forwards: Sequence[int]
    hoped_jobs: int

    @classmethod
    def of(cls, sums: Mapping[str, int], now_ms: int) -> Self:
        """Read the store's sums.

        Args:
            sums: by the kind of sum, one letter, and the slot.
            now_ms: the store's time.
        """
        kinds: dict[str, dict[int, int]] = {_DUE: {}, _HOPED: {}, _DUE_JOBS: {}, _HOPED_JOBS: {}}
        for name, number in sums.items():
            kinds[name[0]][int(name[1:])] = number
        due, hoped, past = kinds[_DUE], kinds[_HOPED], now_ms // SLOT_MS
        slots = sorted(slot for slot in due if slot >= past)
        forwards, jobs = [due[slot] for slot in slots], [kinds[_DUE_JOBS].get(slot, 1) for slot in slots]
        hoped_slots = sorted(hoped)
        return cls(
            slots,
            tuple(accumulate(forwards)),
            tuple(accumulate(jobs)),
            tuple(accumulate(map(truediv, forwards, jobs), max)),
            hoped_slots,
            tuple(accumulate(hoped[slot] for slot in hoped_slots)),
            sum(kinds[_HOPED_JOBS].get(slot, 1) for slot in hoped_slots),
        )

    @property
    def held(self) -> int:
        """Forwards, all together."""
        return _last(self.forwards) + self.hoped

    @property
    def images(self) -> int:
        """Jobs, all together."""
        return _last(self.jobs) + self.hoped_jobs

    @property
    def hoped(self) -> int:
        """Forwards of best effort, all together."""
        return _last(self.hoped_forwards)

    def due_by(self, slot: float) -> int:
        """Forwards with a deadline in a slot or before it."""
        return _last(self.forwards[: bisect_right(self.slots, slot)])

    def hoped_by(self, slot: float) -> int:
        """Forwards of best effort that would be due in a slot or before it."""
        return _last(self.hoped_forwards[: bisect_right(self.hoped_slots, slot)])


def _last(summed: Sequence[int]) -> int:
    return summed[-1] if summed else 0
