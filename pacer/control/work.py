"""The work that is still to be made, by when it is due: what the store's sums say.

The store sums the forwards of the network that are still to be made, and the jobs that they are of, in slots of time,
so that reading them costs the same however many jobs there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from schedules.table import FloatArray

SLOT_MS = 100
_FAR_MS, _COARSE = 10_000, 10  # what is due later than that is kept in slots so many times as wide
_JOBS = {"d": "n", "b": "m"}
"""Sums of forwards, of requests with a deadline and of those without, and those of the jobs that they are of."""
_DOUBLE = np.dtype("<f8")
_HOPED = 2**40  # what is added to the slots of those without, beyond all others


def slot_at(due_ms: float, now_ms: float) -> int:
    """The slot in which the store counts what is due at a time, in units of 100 ms; far ones are rounded down."""
    slot = int(due_ms // SLOT_MS)
    return slot if due_ms - now_ms <= _FAR_MS else slot - slot % _COARSE


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What workers have before them, slots rising.

    Attributes:
        slots: of what has a deadline, shape (S,); those that are past are left out, as it will be given up.
        forwards: that are due by the end of each of them, those before it included, shape (S,).
        jobs: that they are of, shape (S,).
        longest: the most forwards that a job of them has left, the mean of its slot, shape (S,).
        hoped_slots: of best effort, which is never given up, shape (B,).
        hoped_forwards: by the end of each of them, those before it included, shape (B,).
        hoped_jobs: all of them.
    """

    slots: FloatArray
    forwards: FloatArray
    jobs: FloatArray
    longest: FloatArray
    hoped_slots: FloatArray
    hoped_forwards: FloatArray
    hoped_jobs: int

    @classmethod
    def of(cls, sums: Mapping[str, int], now_ms: int) -> Self:
        """Sum up what is due.

        Args:
            sums: by the kind of sum, one letter, and the slot.
            now_ms: the store's time.
        """
        return cls.read(packed(sums), now_ms)

    @classmethod
    def read(cls, told: bytes, now_ms: int) -> Self:
        """The same from the store's own words: see `packed`."""
        rows = np.frombuffer(told, _DOUBLE).reshape(-1, 3)
        if not len(rows):
            return cls(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, 0)
        keys, forwards, jobs = rows[rows[:, 0].argsort()].T
        past, due = int(keys.searchsorted(now_ms // SLOT_MS)), int(keys.searchsorted(_HOPED))
        hoped = len(keys) > due
        return cls(
            keys[past:due],
            forwards[past:due].cumsum(),
            jobs[past:due].cumsum(),
            np.maximum.accumulate(forwards[past:due] / jobs[past:due]),
            keys[due:] - _HOPED if hoped else _NOTHING,
            forwards[due:].cumsum() if hoped else _NOTHING,
            int(jobs[due:].sum()) if hoped else 0,
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

    def lefts(self) -> Iterator[tuple[float, float]]:
        """Forwards that each job of a slot still needs, its mean, and how many jobs; best effort is one slot."""
        forwards_before = jobs_before = 0.0
        for forwards, jobs in zip(self.forwards.tolist(), self.jobs.tolist(), strict=True):
            if forwards > forwards_before and jobs > jobs_before:
                yield (forwards - forwards_before) / (jobs - jobs_before), jobs - jobs_before
            forwards_before, jobs_before = forwards, jobs
        if self.hoped and self.hoped_jobs:
            yield self.hoped / self.hoped_jobs, float(self.hoped_jobs)

    def due_by(self, slot: float) -> int:
        """Forwards with a deadline in a slot or before it."""
        return _last(self.forwards[: self.place(slot)])

    def hoped_by(self, slot: float) -> int:
        """Forwards of best effort that would be due in a slot or before it."""
        return _last(self.hoped_forwards[: self.hoped_slots.searchsorted(slot, "right")]) if self.hoped_jobs else 0

    def more(self, slot: float, forwards: int, jobs: int = 0) -> Self:
        """The same with more that has a deadline, or less, in the last slot that is not after one.

        Args:
            slot: where it is due.
            forwards: of it; below 0 for less.
            jobs: that they are of, likewise.
        """
        at = self.place(slot) - 1
        if at < 0:
            return self
        later = np.arange(len(self.slots)) >= at
        summed = np.maximum(self.forwards + forwards * later, 0)
        return replace(self, forwards=summed, jobs=np.maximum(self.jobs + jobs * later, 0))

    def with_again(self, part: Work, times: float) -> Self:
        """The same with a part of what has a deadline counted so many times more."""
        if not len(part.slots):
            return self
        before = part.slots.searchsorted(self.slots, "right")
        forwards, jobs = (np.append(0.0, summed)[before] for summed in (part.forwards, part.jobs))
        return replace(self, forwards=self.forwards + times * forwards, jobs=self.jobs + times * jobs)

    def place(self, slot: float) -> int:
        """How many of the slots with deadlines are not after a slot."""
        return int(self.slots.searchsorted(slot, "right")) if len(self.slots) else 0


def packed(sums: Mapping[str, int]) -> bytes:
    """Sums as the store's script tells them: of each slot a key, forwards and jobs, as little-endian doubles in turn.

    The key of what has no deadline is its slot and 2**40. Where nobody counted the jobs, it is one.
    """
    rows = [
        (int(name[1:]) + (_HOPED if name[0] == "b" else 0), forwards, sums.get(_JOBS[name[0]] + name[1:], 1))
        for name, forwards in sums.items()
        if name[0] in _JOBS
    ]
    return np.array(rows, dtype=_DOUBLE).tobytes()


_NOTHING = np.zeros(0)


def _last(summed: FloatArray) -> int:
    return int(summed[-1]) if len(summed) else 0
