"""One simulated worker: the batcher, and turns that take what they are predicted to take."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from pacer.control.batcher import Batcher
from pacer.control.express import Express
from pacer.control.requests import Request
from pacer.control.simulation.queue import SimulatedJob
from pacer.control.simulation.replanning import SimulatedReplanner
from pacer.control.turns import Gaps, TurnCost
from pacer.jobs.messages import WorkerSpeed

_NO_EXPRESS = Express(0, 0.0)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn of the compute loop does; none of it is known to others before it ends.

    Attributes:
        ends_s: when.
        finished: jobs whose pictures are decoded then.
        expired: jobs given up because their deadline had passed.
    """

    ends_s: float
    finished: tuple[SimulatedJob, ...]
    expired: tuple[SimulatedJob, ...]


class SimulatedWorker:
    """Admits, steps and decodes in one loop, as a worker on a CPU does: each of the three takes its time.

    Args:
        batcher: its own, empty, with room for those on express seats too.
        speed: what its stages take, exactly.
        best_effort_slack_s: slack of a job without a deadline.
        replanner: plans jobs anew; None keeps them to their plans.
        express: seats for promises, of those that the batcher has; none by default.
    """

    def __init__(
        self,
        batcher: Batcher,
        speed: WorkerSpeed,
        best_effort_slack_s: float,
        replanner: SimulatedReplanner | None = None,
        express: Express = _NO_EXPRESS,
    ) -> None:
        self._batcher = batcher
        self._speed = speed
        self._cost = TurnCost(speed.turn_seconds, speed.row_seconds)
        self._gaps = Gaps()
        self._tail_s = speed.decode_seconds + speed.deliver_seconds
        self._best_effort_slack_s = best_effort_slack_s
        self._replanner = replanner
        self._claimed: deque[SimulatedJob] = deque()
        self._held: dict[str, SimulatedJob] = {}
        self._room = batcher.free - express.seats
        self._express = express
        self._on_express: set[int] = set()
        self.busy_s = 0.0
        self.turning = False

    @property
    def room(self) -> int:
        """Jobs that can still be claimed."""
        return self._room

    @property
    def has_work(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._claimed or self._held)

    def hand_over(self, jobs: Iterable[SimulatedJob]) -> None:
        """Take claimed jobs; the next turn begins with them."""
        for job in jobs:
            self._claimed.append(job)
            self._room -= 1

    @property
    def express_within_s(self) -> float | None:
        """Seconds within which a promise must start to be claimed on top of those; None where there is no seat."""
        return None if self._room else self._express.starts_within_s(len(self._on_express))

    def hand_over_promise(self, job: SimulatedJob) -> None:
        """Take a claimed promise on an express seat."""
        self._claimed.append(job)
        self._on_express.add(job.place)

    def progress(self) -> list[tuple[SimulatedJob, int]]:
        """The jobs that step and the evaluations that each still needs."""
        return [(self._held[request.id], request.turns_left) for request in self._batcher.requests]

    def begin_turn(self, now_s: float) -> Turn:
        """Admit what was claimed, give up what is late, step one batch and decode what that finishes."""
        self.turning = True
        begun_s = now_s
        while self._claimed:
            self._admit(self._claimed.popleft(), now_s)
            now_s += self._speed.encode_seconds
        self._replan(now_s)
        expired = self._expire(now_s)
        batch = self._batcher.pick(now_s, self._gaps.between(self._cost))
        turn_s = self._cost.seconds(1, sum(request.next_rows for request in batch)) if batch else 0.0
        done = self._batcher.advance([request.id for request in batch])
        finished = tuple(self._held.pop(request.id) for request in done)
        ends_s = now_s + turn_s + len(finished) * self._speed.decode_seconds
        self._gaps.note(ends_s - begun_s - turn_s)
        self.busy_s += ends_s - begun_s
        return Turn(ends_s, finished, expired)

    def end_turn(self, turn: Turn) -> None:
        """Make room for as many as have left."""
        self.turning = False
        for job in (*turn.finished, *turn.expired):
            self._room += job.place not in self._on_express
            self._on_express.discard(job.place)

    def _replan(self, now_s: float) -> None:
        """Let one of the jobs that step go on by another plan."""
        if self._replanner is None:
            return
        for request in self._batcher.requests:
            job = self._held[request.id]
            if self._replanner.changes(job, request.step, now_s):
                self._batcher.replan(request.id, job.rows)
                return

    def _admit(self, job: SimulatedJob, now_s: float) -> None:
        name = str(job.place)
        if self._replanner is not None:
            self._replanner.changes(job, 0, now_s)
        allowed_s = self._best_effort_slack_s if job.allowed_s is None else job.allowed_s - self._tail_s
        self._held[name] = job
        self._batcher.admit(Request(name, "all", job.rows, job.submitted_s + allowed_s, admitted_s=now_s))

    def _expire(self, now_s: float) -> tuple[SimulatedJob, ...]:
        late = [
            request.id
            for request in self._batcher.requests
            if request.deadline_s <= now_s and self._held[request.id].deadline_s is not None
        ]
        for name in late:
            self._batcher.remove(name)
        return tuple(self._held.pop(name) for name in late)
