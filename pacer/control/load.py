"""What workers have before them, for a request: who goes before it, who is beside it, and what it may be promised.

Requests with a deadline go before those without, and by it among themselves, which is what the batcher's policies come
near to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

import numpy as np

from pacer.control.company import Company
from pacer.control.promise import Demand, Promise
from pacer.control.work import SLOT_MS, Work, slot_at
from pacer.jobs.messages import WorkerSpeed


@dataclass(frozen=True)
class Load:
    """Live workers and the work before them.

    Attributes:
        speed: what they measured, the mean.
        workers: how many there are.
        now_ms: the store's time.
        work: its sums of the work still to be made, by kind and slot, as `Work.of` reads them.
        owed: of the forwards among them, those of jobs that wait and have no deadline, by owner.
        weights: shares of owners; 1 for who is not named.
    """

    speed: WorkerSpeed
    workers: int
    now_ms: int
    work: Mapping[str, int]
    owed: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def ahead(self, due_s: float | None, owner: str | None = None) -> float:
        """Forwards of the network that go before a request's.

        Args:
            due_s: seconds from now until it is due; None without a deadline, when everything goes before it.
            owner: whose it is; of what other owners have waiting no more goes before it than is their turn.
        """
        last = inf if due_s is None else self._slot(due_s)
        promised, hoped = self._work.due_by(last), float(self._work.hoped_by(last))
        return promised + (hoped if owner is None else min(hoped, self._turns_before(owner, promised)))

    def company(self, due_s: float | None, owner: str | None = None) -> Company:
        """Who is there beside a request; arguments as for `ahead`."""
        work = self._work
        return Company(self.speed, self.workers, self.ahead(due_s, owner), work.held, work.images, due_s is None)

    def promise(self, due_s: float, company: Company, *, each: int = 2) -> Promise:
        """What a request that is due in so many seconds may be promised.

        Args:
            due_s: seconds from now until it is due.
            company: who is there beside it.
            each: forwards of one image in a turn, about.
        """
        work, place = self._work, bisect_right(self._work.slots, self._slot(due_s))
        until_s = ((slot * SLOT_MS - self.now_ms) / 1000 for slot in work.slots[place:])
        turns = [forwards / each for forwards in work.longest[max(0, place - 1) :]]
        # What has no deadline was promised nothing: as much of it goes before this request as is its turn.
        demand = Demand(
            np.array((due_s, *until_s)),
            np.array((company.ahead, *work.forwards[place:])),
            np.array((work.jobs[place - 1] if place else 0, *work.jobs[place:])),
            np.array(turns if place else (0.0, *turns)),
        )
        return Promise(self.speed, self.workers, company.turn_s(each), demand)

    def _turns_before(self, owner: str, promised: int) -> float:
        """Forwards without a deadline before an owner's next job: what workers hold, its own, and the others' turns.

        While the owner waits for its own work, another gets as much done by weight, and no more than it has.
        """
        begun = self._work.hoped - sum(self.owed.values())
        own = self.owed.get(owner, 0)
        weight = self.weights.get(owner, 1.0)
        others = (
            min(waiting, (own + promised) * self.weights.get(other, 1.0) / weight)
            for other, waiting in self.owed.items()
            if other != owner
        )
        return begun + own + sum(others)

    def _slot(self, due_s: float) -> int:
        return slot_at(self.now_ms + due_s * 1000, self.now_ms)

    @cached_property
    def _work(self) -> Work:
        return Work.of(self.work, self.now_ms)
