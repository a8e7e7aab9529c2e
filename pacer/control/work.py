"""The work that is still to be made, by when it is due: what the store's sums say.

The store sums the forwards of the network that are still to be made, and the jobs that they are of, in slots of time,
so that reading them costs the same however many jobs there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from schedules.table import FloatArray

SLOT_MS = 100
_FAR_MS, _COARSE = 10_000, 10  # what is due later than that is kept in slots so many times as wide
_DUE, _HOPED, _DUE_JOBS, _HOPED_JOBS = range(4)
_KINDS = {"d": _DUE, "b": _HOPED, "n": _DUE_JOBS, "m": _HOPED_JOBS}
"""Forwards of requests with a deadline and of those without, and how many jobs they are of, by the store's letter."""
_BEYOND = 2**40  # a slot beyond all
_BOUNDS = tuple(kind * _BEYOND for kind in (_HOPED, _DUE_JOBS, _HOPED_JOBS))

_Slots = NDArray[np.int64]


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

    slots: _Slots
    forwards: _Slots
    jobs: _Slots
    longest: FloatArray
    hoped_slots: _Slots
    hoped_forwards: _Slots
    hoped_jobs: int

    @classmethod
    def of(cls, sums: Mapping[str, int], now_ms: int) -> Self:
        """Sum up what is due.

        Args:
            sums: by the kind of sum, one letter, and the slot.
            now_ms: the store's time.
        """
        told = [(_KINDS[name[0]], int(name[1:]), number) for name, number in sums.items()]
        return cls._summed(np.array(told, dtype=np.int64).reshape(-1, 3), now_ms)

    @classmethod
    def read(cls, reply: Sequence[bytes], now_ms: int) -> Self:
        """The same from the store's own words: names and sums in turn."""
        text = b" ".join(reply)
        for letter, kind in _KINDS.items():
            text = text.replace(letter.encode(), b"%d " % kind)
        return cls._summed(np.fromstring(text, dtype=np.int64, sep=" ").reshape(-1, 3), now_ms)

    @classmethod
    def _summed(cls, told: _Slots, now_ms: int) -> Self:
        """From kinds, slots and sums, shape (n, 3)."""
        if not len(told):
            return cls(_NOTHING, _NOTHING, _NOTHING, _NO_LENGTHS, _NOTHING, _NOTHING, 0)
        keys = told[:, 0] * _BEYOND + told[:, 1]
        order = keys.argsort()
        slots, sums = told[order, 1], told[order, 2]
        past, due, hoped, counted = keys[order].searchsorted((now_ms // SLOT_MS, *_BOUNDS)).tolist()
        forwards = sums[past:due]
        jobs = _jobs_of(slots[past:due], slots[hoped:counted], sums[hoped:counted])
        hoped_jobs = _jobs_of(slots[due:hoped], slots[counted:], sums[counted:])
        return cls(
            slots[past:due],
            forwards.cumsum(),
            jobs.cumsum(),
            np.maximum.accumulate(forwards / jobs),
            slots[due:hoped],
            sums[due:hoped].cumsum(),
            int(hoped_jobs.sum()),
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
        return _last(self.forwards[: self.place(slot)])

    def hoped_by(self, slot: float) -> int:
        """Forwards of best effort that would be due in a slot or before it."""
        return _last(self.hoped_forwards[: self.hoped_slots.searchsorted(slot, "right")]) if self.hoped_jobs else 0

    def place(self, slot: float) -> int:
        """How many of the slots with deadlines are not after a slot."""
        return int(self.slots.searchsorted(slot, "right")) if len(self.slots) else 0


_NOTHING = np.zeros(0, dtype=np.int64)
_NO_LENGTHS = np.zeros(0)


def _jobs_of(slots: _Slots, counted: _Slots, jobs: _Slots) -> _Slots:
    """How many jobs the forwards of each slot are of; one where nobody counted them.

    Args:
        slots: rising, shape (S,).
        counted: slots in which jobs were counted, rising, shape (C,).
        jobs: how many there are in these.
    """
    if not len(slots):
        return _NOTHING
    if len(counted) >= len(slots) and (counted[-len(slots) :] == slots).all():  # all were, and what is past besides
        return jobs[-len(slots) :]
    found = np.ones(len(slots), dtype=np.int64)
    places = counted.searchsorted(slots)
    known = places < len(counted)
    known[known] = counted[places[known]] == slots[known]
    found[known] = jobs[places[known]]
    return found


def _last(summed: _Slots) -> int:
    return int(summed[-1]) if len(summed) else 0
