"""What workers have before them: how long a request would wait, and how much more they can take without a miss.

The store sums the forwards that are still to be made by when they are due, in slots of time, so this costs the same
however many jobs there are. Requests with a deadline go before those without, and by it among themselves, which is what
the batcher's policies come near to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pacer.control.company import Company
from pacer.control.promise import Demand, Promise
from pacer.jobs.messages import WorkerSpeed

_SLOT_MS = 100
_FAR_MS, _COARSE = 10_000, 10  # what is due later than that is kept in slots so many times as wide
_TURNS_LEFT = 8  # of an image under way, about
_DUE, _HOPED = "d", "b"  # forwards of requests with a deadline, and of those without
_DUE_JOBS, _HOPED_JOBS = "n", "m"  # how many jobs they are of


def slot_at(due_ms: float, now_ms: float) -> int:
    """The slot in which the store counts what is due at a time, in units of 100 ms; far ones are rounded down."""
    slot = int(due_ms // _SLOT_MS)
    return slot if due_ms - now_ms <= _FAR_MS else slot - slot % _COARSE


@dataclass(frozen=True)
class Load:
    """Live workers and the work before them.

    Attributes:
        speed: what they measured, the mean.
        workers: how many there are.
        now_ms: the store's time.
        work: forwards of the network still to be made, by slot: "d" or "b" (with a deadline, or best effort) and the
            time at which they are due in slots of 100 ms; under "n" or "m" and the time, how many jobs they are of.
        owed: of them, those of jobs that wait and have no deadline, by owner.
        weights: shares of owners; 1 for who is not named.
    """

    speed: WorkerSpeed
    workers: int
    now_ms: int
    work: Mapping[str, int]
    owed: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def forwards_per_s(self) -> float:
        """At which all workers together make them while their batches are full."""
        return self.workers * self.speed.rows / max(self._turn_s, 1e-9)

    def wait_s(self, due_s: float | None, owner: str | None = None) -> float:
        """Seconds until a request would be begun with: what goes before it, and half a turn that is under way.

        Args:
            due_s: seconds from now until it is due; None without a deadline, when everything goes before it.
            owner: whose it is; of what other owners have waiting no more goes before it than is their turn.
        """
        if not self._slots:
            return 0.0
        return self._ahead(due_s, owner) / self.forwards_per_s + self._turn_s / 2

    def company(self, due_s: float | None, owner: str | None = None) -> Company:
        """Who is there beside a request; arguments as for `wait_s`."""
        held, images = sum(self._slots.values()), sum(self._jobs.values()) + sum(self._patient.values())
        return Company(self.speed, self.workers, self._ahead(due_s, owner), held, images, due_s is None)

    def _ahead(self, due_s: float | None, owner: str | None) -> float:
        """Forwards that go before a request's."""
        last = float("inf") if due_s is None else self._slot(due_s)
        promised = self._before(_DUE, last)
        hoped: float = self._before(_HOPED, last)
        if owner is not None:
            hoped = min(hoped, self._turns_before(owner, promised))
        return promised + hoped

    def _before(self, kind: str, last: float) -> int:
        return sum(forwards for (each, slot), forwards in self._slots.items() if each == kind and slot <= last)

    def _turns_before(self, owner: str, promised: int) -> float:
        """Forwards without a deadline before an owner's next job: what workers hold, its own, and the others' turns.

        While the owner waits for its own work, another gets as much done by weight, and no more than it has.
        """
        begun = self._before(_HOPED, float("inf")) - sum(self.owed.values())
        own = self.owed.get(owner, 0)
        weight = self.weights.get(owner, 1.0)
        others = (
            min(waiting, (own + promised) * self.weights.get(other, 1.0) / weight)
            for other, waiting in self.owed.items()
            if other != owner
        )
        return begun + own + sum(others)

    def promise(self, due_s: float, owner: str | None = None, *, each: int = 2) -> Promise:
        """What a request that is due in so many seconds may be promised.

        Args:
            due_s: seconds from now until it is due.
            owner: whose it is; as for `wait_s`.
            each: forwards of one image in a turn, about.
        """
        own, later, last = Demand(due_s, 0.0, 0.0, 0.0), [], self._slot(due_s)
        for slot, demand in self._demands(each):
            if slot <= last:
                own = Demand(due_s, *demand[1:])
            else:
                later.append(demand)
        # What has no deadline was promised nothing: as much of it goes before this request as is its turn.
        own = own._replace(forwards=self._ahead(due_s, owner))
        return Promise(self.speed, self.workers, self._begin_s, own, tuple(later))

    def _demands(self, each: int) -> Iterator[tuple[int, Demand]]:
        """What was promised by the start of each slot, itself included."""
        forwards, images, turns, known = 0, 0, 0.0, self._jobs
        for slot, more in sorted((slot, more) for (kind, slot), more in self._slots.items() if kind == _DUE):
            jobs = known.get(slot) or 1  # none of an older version
            forwards, images, turns = forwards + more, images + jobs, max(turns, more / (jobs * each))
            yield slot, Demand((slot * _SLOT_MS - self.now_ms) / 1000, forwards, images, turns)

    @property
    def _begin_s(self) -> float:
        """Seconds until a request joins a batch: a turn that is under way, whose rows are guessed."""
        if not self._slots:
            return 0.0
        rows = min(self.speed.rows, sum(self._slots.values()) / self.workers / _TURNS_LEFT)
        return self.speed.turn_seconds + rows * self.speed.row_seconds

    @property
    def _turn_s(self) -> float:
        """Of a full turn."""
        return self.speed.turn_seconds + self.speed.rows * self.speed.row_seconds

    def _slot(self, due_s: float) -> int:
        return slot_at(self.now_ms + due_s * 1000, self.now_ms)

    @cached_property
    def _slots(self) -> dict[tuple[str, int], int]:
        """By kind and time; what is past its deadline will be given up, and is in nobody's way."""
        slots = {(name[0], int(name[1:])): n for name, n in self.work.items() if name[0] in (_DUE, _HOPED)}
        past = self.now_ms // _SLOT_MS
        return {(kind, slot): n for (kind, slot), n in slots.items() if kind == _HOPED or slot >= past}

    @cached_property
    def _jobs(self) -> dict[int, int]:
        """With a deadline, by when they are due."""
        past = self.now_ms // _SLOT_MS
        return {slot: jobs for slot, jobs in self._counted(_DUE_JOBS) if slot >= past}

    @cached_property
    def _patient(self) -> dict[int, int]:
        """Jobs without a deadline, by slot."""
        return dict(self._counted(_HOPED_JOBS))

    def _counted(self, kind: str) -> Iterator[tuple[int, int]]:
        return ((int(name[1:]), jobs) for name, jobs in self.work.items() if name[0] == kind)
