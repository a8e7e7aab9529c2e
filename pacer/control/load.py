"""What workers have before them, for a request: who goes before it, who is beside it, and what it may be promised.

Requests with a deadline go before those without, and by it among themselves, which is what the batcher's policies come
near to.

Owners share what may be promised: while others ask for deadlines too, an owner leaves as much of it free as it holds,
over its weight. This is the dynamic threshold by which queues share a memory (Choudhury and Hahne, 1998): n owners that
ask for all they can get hold 1/(n + 1) each, and as much is there for whoever comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf

from pacer.control.company import Company
from pacer.control.inflow import Inflow
from pacer.control.promise import Demand, Later, Promise
from pacer.control.step_cap import Traffic
from pacer.control.work import Work, slot_at
from pacer.jobs.messages import WorkerSpeed

SEEN_S = 600.0
"""Seconds for which an owner that asked for a deadline is reckoned to ask again."""


@dataclass(frozen=True)
class Load:
    """Live workers and the work before them.

    Attributes:
        speed: what they measured, the mean.
        workers: how many there are.
        now_ms: the store's time.
        work: that is still to be made.
        owed: of the forwards among them, those of jobs that wait and have no deadline, by owner.
        weights: shares of owners; 1 for who is not named.
        inflow: what comes in with a deadline, a second.
        promises: times that there was more work with a deadline: of a job that was taken in, that a worker gave more
            steps, or that is drawn again; what was planned on it is stale when there are more.
        own: of the work, what the owner that asks was promised; None where no other asks for deadlines.
        late_last: whether workers step last what is late: what they hold of best effort is in no deadline's way then.
    """

    speed: WorkerSpeed
    workers: int
    now_ms: int
    work: Work
    owed: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    inflow: Inflow = field(default_factory=Inflow)
    promises: int = 0
    own: Work | None = None
    late_last: bool = False

    def ahead(self, due_s: float | None, owner: str | None = None) -> float:
        """Forwards of the network that go before a request's.

        Args:
            due_s: seconds from now until it is due; None without a deadline, when everything goes before it.
            owner: whose it is; of what other owners have waiting no more goes before it than is their turn.
        """
        last = inf if due_s is None else self._slot(due_s)
        promised, hoped = self.work.due_by(last), float(self.work.hoped_by(last))
        if owner is None:
            return promised + hoped
        begun = 0 if self.late_last and due_s is not None else self.work.hoped - sum(self.owed.values())
        return promised + min(hoped, begun + self._turns_before(owner, promised))

    def company(self, due_s: float | None, owner: str | None = None) -> Company:
        """Who is there beside a request; arguments as for `ahead`."""
        work = self.work
        ahead = self.ahead(due_s, owner)
        return Company(self.speed, self.workers, ahead, work.held, work.images, due_s is None, work)

    @property
    def traffic(self) -> Traffic:
        """Who comes, and who draws."""
        return Traffic(self.inflow, self.speed, self.workers)

    def promise(self, due_s: float, company: Company, owner: str | None = None, *, each: int = 2) -> Promise:
        """What a request that is due in so many seconds may be promised.

        Args:
            due_s: seconds from now until it is due.
            company: who is there beside it.
            owner: whose it is.
            each: forwards of one image in a turn, about.
        """
        again = 0.0 if self.own is None else 1 / self.weights.get(owner or "", 1.0)
        work = self.work if self.own is None else self.work.with_again(self.own, again)
        place = work.place(self._slot(due_s))
        # What has no deadline was promised nothing: as much of it goes before this request as is its turn.
        own = Demand(due_s, company.ahead, 0.0, 0.0)
        if place:
            jobs, longest = float(work.jobs[place - 1]), float(work.longest[place - 1])
            left_free = float(work.forwards[place - 1] - self.work.forwards[place - 1])
            own = Demand(due_s, company.ahead + left_free, jobs, longest / each)
        later = Later(work, place, self.now_ms, each) if place < len(work.slots) else None
        return Promise(self.speed, self.workers, company.turn_s(each), own, later, again=again)

    def more(self, due_s: float, forwards: int, jobs: int = 0) -> Load:
        """The same with more before the workers that is due in so many seconds, or with less: see `Work.more`."""
        slot = self._slot(due_s)
        own = None if self.own is None else self.own.more(slot, forwards, jobs)
        return replace(self, work=self.work.more(slot, forwards, jobs), own=own)

    def _turns_before(self, owner: str, promised: int) -> float:
        """Forwards without a deadline that wait before an owner's next job: its own, and the others' turns.

        While the owner waits for its own work, another gets as much done by weight, and no more than it has.
        """
        own = self.owed.get(owner, 0)
        weight = self.weights.get(owner, 1.0)
        others = (
            min(waiting, (own + promised) * self.weights.get(other, 1.0) / weight)
            for other, waiting in self.owed.items()
            if other != owner
        )
        return own + sum(others)

    def _slot(self, due_s: float) -> int:
        return slot_at(self.now_ms + due_s * 1000, self.now_ms)
