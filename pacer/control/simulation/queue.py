"""The store's queue as numbers: its order, its limit, and the work that it tells the planner of.

What the Lua scripts of `pacer/jobs` do, without a store: `submit`, `claim`, `beat` and `finish`, leases and fences left
out, since no simulated worker dies. Owners share what may be promised; their turns are left out, so that nobody's comes
before the order of all jobs.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pacer.control.inflow import Inflow, InflowMeter
from pacer.control.load import SEEN_S, Load
from pacer.control.ways import Going
from pacer.control.work import Work, slot_at
from pacer.jobs.messages import Plan, TableMessage, WorkerSpeed
from pacer.jobs.owners import EVERYBODY


@dataclass(slots=True, eq=False)
class SimulatedJob:
    """A job that was taken in.

    Attributes:
        place: of its request in the trace.
        rows: network rows of each of its evaluations.
        submitted_s: when it was taken in.
        allowed_s: seconds from then until it is worth nothing; None without a deadline.
        predicted_s: its service time as the plan says.
        slot: under which its work is counted; set by the queue.
        left: forwards that it still needs, as far as the queue was told.
        going: what it leaves open; None where it keeps to its plan.
        owner: whose it is.
    """

    place: int
    rows: tuple[int, ...]
    submitted_s: float
    allowed_s: float | None
    predicted_s: float
    slot: str = ""
    left: int = 0
    going: Going | None = None
    owner: str = EVERYBODY

    def go_on(self, plan: Plan, table: TableMessage, rows: tuple[int, ...]) -> None:
        """Take another plan."""
        if self.going is not None:
            self.going = replace(self.going, plan=plan, table=table)
        self.rows = rows

    @property
    def deadline_s(self) -> float | None:
        """When it is worth nothing."""
        return None if self.allowed_s is None else self.submitted_s + self.allowed_s


class SimulatedQueue:
    """Jobs that wait, the least slack first.

    Args:
        limit: most jobs that may wait.
        best_effort_slack_s: slack of a job without a deadline.
        late_last: whether workers step last what is late.
    """

    def __init__(self, limit: int, best_effort_slack_s: float, *, late_last: bool = False) -> None:
        self._limit = limit
        self._late_last = late_last
        self._best_effort_slack_s = best_effort_slack_s
        self._pending: list[tuple[float, int, SimulatedJob]] = []
        self._work: dict[str, int] = {}
        self._due: dict[str, dict[str, int]] = {}
        self._asked: dict[str, float] = {}
        self._inflow = InflowMeter()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def sums(self) -> Mapping[str, int]:
        """Of the work, as the store tells them."""
        return self._work

    @property
    def full(self) -> bool:
        """Whether no job more may wait."""
        return len(self._pending) >= self._limit

    def submit(self, job: SimulatedJob) -> None:
        """Take a job in.

        Raises:
            ValueError: the queue is full.
        """
        if self.full:
            raise ValueError(f"{self._limit} jobs wait, which is the most that may")
        slack_s = self._best_effort_slack_s if job.allowed_s is None else job.allowed_s - job.predicted_s
        score_s = job.submitted_s + slack_s
        due_s = score_s if job.deadline_s is None else job.deadline_s
        job.slot = f"{'b' if job.deadline_s is None else 'd'}{slot_at(due_s * 1000, job.submitted_s * 1000)}"
        self.set_left(job, sum(job.rows))
        heapq.heappush(self._pending, (score_s, job.place, job))

    def claim(self, count: int, now_s: float) -> tuple[list[SimulatedJob], list[SimulatedJob]]:
        """The most urgent jobs, at most `count`, and those found on the way whose deadline has passed."""
        claimed: list[SimulatedJob] = []
        expired: list[SimulatedJob] = []
        while self._pending and len(claimed) < count:
            job = heapq.heappop(self._pending)[2]
            late = job.deadline_s is not None and job.deadline_s <= now_s
            (expired if late else claimed).append(job)
        for job in expired:
            self.set_left(job, 0)
        return claimed, expired

    def claim_promise(self, within_s: float, now_s: float) -> tuple[SimulatedJob | None, list[SimulatedJob]]:
        """The most urgent promise, if it must start within so many seconds; and those past their deadline, as above."""
        expired: list[SimulatedJob] = []
        for entry in sorted(each for each in self._pending if each[2].deadline_s is not None):
            start_s, _, job = entry
            if start_s > now_s + within_s:
                break
            self._pending.remove(entry)
            heapq.heapify(self._pending)
            if job.deadline_s is not None and job.deadline_s > now_s:
                return job, expired
            expired.append(job)
            self.set_left(job, 0)
        return None, expired

    def set_left(self, job: SimulatedJob, left: int) -> None:
        """Note how many forwards a job still needs."""
        jobs = "m" if job.deadline_s is None else "n"
        all_sums = [self._work]
        if job.deadline_s is not None:
            all_sums.append(self._due.setdefault(job.owner, {}))
        for sums in all_sums:
            _count(sums, job.slot, left - job.left)
            _count(sums, f"{jobs}{job.slot[1:]}", (left > 0) - (job.left > 0))
        job.left = left

    def load(
        self,
        speed: WorkerSpeed,
        workers: int,
        now_s: float,
        came: Inflow | None = None,
        owner: str | None = None,
    ) -> Load:
        """What the gateway is told before it plans; `came` is what it plans for, of an owner. A worker says neither."""
        now_ms = int(now_s * 1000)
        inflow = self._inflow.note(came if came and self._work else Inflow(), now_s)
        if owner is not None and came is not None and came.images:
            self._asked[owner] = now_s
        work = Work.of(self.sums, now_ms)
        own = self._own(owner, work, now_s)
        return Load(speed, workers, now_ms, work, owed=self._owed(), inflow=inflow, own=own, late_last=self._late_last)

    def _owed(self) -> dict[str, int]:
        """Forwards of jobs that wait and have no deadline, by owner."""
        owed: dict[str, int] = {}
        for _, _, job in self._pending:
            if job.deadline_s is None:
                owed[job.owner] = owed.get(job.owner, 0) + sum(job.rows)
        return owed

    def _own(self, owner: str | None, work: Work, now_s: float) -> Work | None:
        others = sum(name != owner and now_s - at_s <= SEEN_S for name, at_s in self._asked.items())
        if owner is None:
            return work if others > 1 else None
        return Work.of(self._due.get(owner, {}), int(now_s * 1000)) if others else None


def _count(sums: dict[str, int], name: str, more: int) -> None:
    sums[name] = sums.get(name, 0) + more
    if sums[name] <= 0:
        del sums[name]
