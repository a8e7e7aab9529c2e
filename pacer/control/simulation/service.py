"""Arrivals, the gateway's admission, one queue and its workers, from one event to the next."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pacer.control.batcher import Batcher
from pacer.control.budget_request import BudgetRequest
from pacer.control.evaluations import forwards
from pacer.control.express import Express
from pacer.control.inflow import Inflow, inflow_of, is_open
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.control.policies import POLICIES
from pacer.control.replan import leeway_of
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.queue import SimulatedJob, SimulatedQueue
from pacer.control.simulation.replanning import SimulatedReplanner
from pacer.control.simulation.worker import SimulatedWorker, Turn
from pacer.control.ways import Going, Ways
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import STEPS_TOLD_S, Plan, TableMessage, WorkerSpeed
from pacer.settings import Settings
from schedules.registry import Registry
from schedules.table import Table

State = Literal["completed", "expired", "refused", "invalid"]
"""How a request ended: with its image, given up after it was taken in, answered 429, or answered as wrong in itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        asked: the request.
        state: how it ended.
        plan: what it was promised, or planned anew by a worker; None where it was not taken in.
        done_s: when its image was in its caller's hands; None without one.
        error: why it was not taken in.
    """

    asked: Asked
    state: State
    plan: Plan | None = None
    done_s: float | None = None
    error: ErrorKind | None = None

    @property
    def latency_s(self) -> float | None:
        """Seconds from arrival to the image."""
        return None if self.done_s is None else self.done_s - self.asked.at_s

    @property
    def in_time(self) -> bool:
        """Whether there was an image, and by its deadline if it had one."""
        allowed_s = self.asked.request.latency_s
        return self.latency_s is not None and (allowed_s is None or self.latency_s <= allowed_s)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What became of a trace.

    Attributes:
        outcomes: one for each request, in their order.
        workers: how many there were.
        busy_s: seconds that they worked, together.
        worked_until_s: when the last of them was done, also with what was given up then; 0 if none had work.
    """

    outcomes: tuple[Outcome, ...]
    workers: int
    busy_s: float
    worked_until_s: float = 0.0


def simulate_service(
    trace: Sequence[Asked], registry: Registry, speed: WorkerSpeed, workers: int, settings: Settings
) -> Simulated:
    """Let a trace pass through a gateway and its workers, all idle at the start.

    Args:
        trace: by time, of one model.
        registry: the schedules at hand.
        speed: of each worker, exactly and always.
        workers: at least 1.
        settings: of the gateway and the workers.

    Raises:
        ValueError: no worker.
    """
    if workers < 1:
        raise ValueError(f"workers: must be at least 1, is {workers}")
    return _Service(trace, registry, speed, workers, settings).run()


class _Service:
    def __init__(
        self, trace: Sequence[Asked], registry: Registry, speed: WorkerSpeed, workers: int, settings: Settings
    ) -> None:
        self._trace = trace
        self._registry = registry
        self._speed = speed
        self._settings = settings
        late_last = POLICIES[settings.policy].late_last
        self._queue = SimulatedQueue(settings.queue_limit, settings.best_effort_slack_s, late_last=late_last)
        self._replanner: SimulatedReplanner | None = None
        if settings.replan and trace:
            ways = Ways(registry, trace[0].request.card.id)
            self._replanner = SimulatedReplanner(ways, settings.degrade_at, self._queue)
        self._workers = tuple(self._new_worker() for _ in range(workers))
        self._next_beat_s = [0.0] * workers
        self._turns: list[tuple[float, int, Turn]] = []
        # Who waits for a job, the longest first: that is whom the store wakes, however much the others have in hand.
        self._waiting = deque(range(workers))
        self._plans: dict[int, Plan] = {}
        self._ended: dict[int, Outcome] = {}
        self._worked_until_s = 0.0

    def _new_worker(self) -> SimulatedWorker:
        settings, rows = self._settings, max(1, int(self._speed.rows))
        express = Express.beside(settings.slots, settings.best_effort_slack_s)
        batcher = Batcher(settings.slots + express.seats, rows, POLICIES[settings.policy], settings.aging_s)
        return SimulatedWorker(batcher, self._speed, settings.best_effort_slack_s, self._replanner, express)

    def run(self) -> Simulated:
        for place, asked in enumerate(self._trace):
            self._work_until(asked.at_s)
            self._arrive(place, asked)
        self._work_until(float("inf"))
        outcomes = tuple(self._ended[place] for place in range(len(self._trace)))
        busy_s = sum(worker.busy_s for worker in self._workers)
        return Simulated(outcomes, len(self._workers), busy_s, self._worked_until_s)

    def _arrive(self, place: int, asked: Asked) -> None:
        """What the gateway does with a request."""
        try:
            job = self._admit(place, asked)
        except PacerError as error:
            state: State = "refused" if error.kind.status == ErrorKind.queue_full.status else "invalid"
            self._ended[place] = Outcome(asked, state, error=error.kind)
            return
        self._queue.submit(job)
        if self._waiting:
            self._claim(self._waiting.popleft(), asked.at_s)

    def _admit(self, place: int, asked: Asked) -> SimulatedJob:
        request, settings = asked.request, self._settings
        load = self._queue.load(self._speed, len(self._workers), asked.at_s, self._inflow(request), asked.owner)
        each, slack_s = forwards(request.branch_scale), settings.best_effort_slack_s
        forecast = Forecast.of(load, request.latency_s, asked.owner, each=each, slack_s=slack_s)
        planned, table = self._plan(request, forecast)
        if self._queue.full:
            raise PacerError(ErrorKind.queue_full, f"{settings.queue_limit} jobs wait.")
        self._plans[place] = planned
        rows = tuple(table.forwards(request.branch_scale).tolist())
        predicted_s = planned.predicted_seconds or 0.0
        job = SimulatedJob(place, rows, asked.at_s, request.latency_s, predicted_s, owner=asked.owner)
        leeway = leeway_of(request, settings.max_steps)
        if leeway is not None and request.latency_s is not None:
            job.going = Going(planned, TableMessage.of(table), request.branch_scale, request.latency_s, leeway)
        return job

    def _plan(self, request: BudgetRequest, forecast: Forecast | None) -> tuple[Plan, Table]:
        settings = self._settings
        return plan(
            request,
            self._registry,
            forecast,
            default_steps=settings.default_steps,
            max_steps=settings.max_steps,
            degrade_at=settings.degrade_at,
        )

    def _inflow(self, request: BudgetRequest) -> Inflow:
        """What the gateway tells the store of a request that it has planned without it."""
        fixed = request.latency_s is not None and not is_open(request)
        return inflow_of(request, self._plan(request, None)[0].evaluations if fixed else 0)

    def _claim(self, index: int, now_s: float) -> None:
        """Let a worker's intake take what it has room for; it waits for more while it has."""
        worker = self._workers[index]
        claimed, expired = self._queue.claim(worker.room, now_s)
        worker.hand_over(claimed)
        expired += self._claim_promises(worker, now_s)
        for job in expired:
            self._end(job, "expired")
        if worker.room and index not in self._waiting:
            self._waiting.append(index)
        if worker.has_work and not worker.turning:
            if self._replanner is not None:
                self._replanner.read(self._queue.load(self._speed, len(self._workers), now_s))
            turn = worker.begin_turn(now_s)
            heapq.heappush(self._turns, (turn.ends_s, index, turn))

    def _claim_promises(self, worker: SimulatedWorker, now_s: float) -> list[SimulatedJob]:
        """Let its intake take promises for which there is an express seat; those found past their deadline."""
        expired: list[SimulatedJob] = []
        while (within_s := worker.express_within_s) is not None:
            job, late = self._queue.claim_promise(within_s, now_s)
            expired += late
            if job is None:
                break
            worker.hand_over_promise(job)
        return expired

    def _work_until(self, until_s: float) -> None:
        while self._turns and self._turns[0][0] <= until_s:
            now_s, index, turn = heapq.heappop(self._turns)
            self._worked_until_s = now_s
            self._workers[index].end_turn(turn)
            for job in turn.finished:
                self._end(job, "completed", now_s + self._speed.deliver_seconds)
            for job in turn.expired:
                self._end(job, "expired")
            self._beat(index, now_s)
            self._claim(index, now_s)

    def _beat(self, index: int, now_s: float) -> None:
        """Tell the queue how far the jobs are, at the end of the first turn after it was due."""
        if now_s < self._next_beat_s[index]:
            return
        told_s = min(STEPS_TOLD_S, self._settings.beat_s)
        self._next_beat_s[index] = (now_s // told_s + 1) * told_s
        for job, turns_left in self._workers[index].progress():
            self._queue.set_left(job, sum(job.rows) * turns_left // len(job.rows))

    def _end(self, job: SimulatedJob, state: State, done_s: float | None = None) -> None:
        self._queue.set_left(job, 0)
        planned = self._plans.pop(job.place)
        drawn = planned if job.going is None else job.going.plan
        self._ended[job.place] = Outcome(self._trace[job.place], state, drawn, done_s)
