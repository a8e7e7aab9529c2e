"""Plans that are made anew while their jobs are here: by the planner's own rules, from what the store says of the load.

What the load is, is read on the beat's thread; what goes on otherwise is told there. Between two readings at most one
job is planned anew, as what it was given is in the next reading only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace

import msgspec

from pacer.control.load import Load
from pacer.control.ways import Going, Ways
from pacer.jobs.messages import Claim, Job
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import Metrics
from schedules.registry import Registry

_STALE_S = 2.0


class Replanner:
    """Plans jobs anew that leave their steps open.

    Args:
        queue: the worker's side of the queue.
        metrics: of this process.
        model: whose jobs these are.
        registry: the schedules at hand.
        degrade_at: as the gateway's planner has it.
    """

    def __init__(
        self, queue: WorkerQueue, metrics: Metrics, model: str, *, registry: Registry, degrade_at: float
    ) -> None:
        self._queue, self._metrics, self._model = queue, metrics, model
        self._ways = Ways(registry, model)
        self._degrade_at = degrade_at
        self._lock = threading.Lock()
        self._load: tuple[Load, float] | None = None
        self._changed: list[Claim] = []

    def admitted(self, claim: Claim) -> Claim:
        """A claim as it is to be taken in: by the plan that it would get now, where it has waited for long."""
        job = self._another(claim, 0)
        if job is None:
            return claim
        changed = msgspec.structs.replace(claim, job=job)
        self.note(changed)
        return changed

    def between(self, progress: Iterable[tuple[Claim, int]]) -> Job | None:
        """A job that is to go on by another plan, if there is one.

        Args:
            progress: the jobs that are here, and the evaluations that each has behind it.
        """
        return next((job for claim, done in progress if (job := self._another(claim, done))), None)

    def note(self, claim: Claim) -> None:
        """Remember to tell the store that a job goes on by the claim's plan."""
        with self._lock:
            self._changed.append(claim)
            self._load = None
        plan = claim.job.plan
        if plan.replanned is not None:
            self._metrics.replanned.labels(self._model, "more" if plan.steps > plan.replanned[0] else "fewer").inc()

    def sync(self, *, wanted: bool) -> None:
        """Tell the store what goes on otherwise, and see how the load is; on the beat's thread.

        Args:
            wanted: whether the load may matter soon.

        Raises:
            PacerError: store_unavailable.
        """
        with self._lock:
            changed = list(self._changed)
        for claim in changed:
            self._queue.replan(claim)
        load = self._queue.load() if wanted else None
        with self._lock:
            self._changed = self._changed[len(changed) :]
            if not self._changed:
                self._load = None if load is None else (load, time.monotonic())

    def _another(self, claim: Claim, done: int) -> Job | None:
        """The job by the plan that it would get now; None where that is its own."""
        job, read, now_s = claim.job, self._load, time.monotonic()
        if job.leeway is None or job.deadline_s is None or read is None or now_s - read[1] > _STALE_S:
            return None
        load = replace(read[0], now_ms=read[0].now_ms + round((now_s - read[1]) * 1000))
        due_s = _arrived_s(claim) + job.deadline_s - now_s
        going = Going(job.plan, job.table, job.guidance_scale, job.deadline_s, job.leeway, job.pixels)
        found = self._ways.another(going, load, done=done, due_s=due_s, degrade_at=self._degrade_at)
        return None if found is None else msgspec.structs.replace(job, plan=found[0], table=found[1].table)


def _arrived_s(claim: Claim) -> float:
    """When the job came in, time.monotonic()."""
    return claim.claimed_s - (claim.claimed_ms - claim.submitted_ms) / 1000
