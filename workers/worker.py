"""One worker: claim -> admit -> encode -> step -> ... -> decode -> finish, until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import structlog

from pacer.control.express import Express
from pacer.control.policies import POLICIES
from pacer.errors import PacerError
from pacer.jobs.messages import Claim, Progress
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import Metrics
from pacer.settings import Settings
from schedules.registry import Registry
from workers.beat import Beat
from workers.delivery import Delivery
from workers.device import DeviceLostError, is_lost
from workers.engine import Engine
from workers.families.base import Family
from workers.idle import IdleClock
from workers.intake import Intake
from workers.loras import Loras
from workers.replanning import Replanner
from workers.turn import Drawn, Failed, GivenBack

_log = structlog.get_logger(__name__)
_IDLE_S = 0.1  # longest wait for a first job, so that a stop is heard


class Worker:
    """Draws one model's jobs until `stop`.

    The compute loop runs in the caller's thread; the intake, the beat and the delivery have theirs.

    Args:
        family: the loaded model.
        queue: the worker's side of the queue.
        settings: slots, rows, beats and how long a drain may take.
        metrics: of this process.
        model: its id, for the labels.
        loras: those that jobs may name; none by default.
        smaller: the model with another network in place of its own, by that network's name.
        registry: the schedules that jobs may go on with; none by default, so that every job keeps to its plan.

    Raises:
        ValueError: beats would come too seldom to keep a lease.
    """

    def __init__(
        self,
        family: Family,
        queue: WorkerQueue,
        settings: Settings,
        metrics: Metrics,
        model: str,
        *,
        loras: Loras | None = None,
        smaller: Mapping[str, Family] | None = None,
        registry: Registry | None = None,
    ) -> None:
        if settings.beat_s > settings.lease_s / 2:
            raise ValueError(
                f"PACER_BEAT_S must be at most half of PACER_LEASE_S ({settings.lease_s:g}), is {settings.beat_s:g}"
            )
        self._queue = queue
        self._settings = settings
        self._metrics = metrics
        self._model = model
        express = Express.beside(settings.slots, settings.best_effort_slack_s)
        self._engine = _engine(family, settings, metrics, model, express=express.seats, loras=loras, smaller=smaller)
        self._lock = threading.Lock()
        self._steps: dict[str, tuple[Claim, int]] = {}  # every job whose lease is ours to beat
        speed = self._engine.speed
        self._delivery = Delivery(
            queue, metrics, model, self._forget, on_delivered=speed.delivered, on_ended=speed.ended
        )
        self._intake = Intake(queue, settings.slots, self._hold, express, metrics.express.labels(model).inc)
        self._seats = settings.slots  # that the intake makes use of, express seats left out
        self._all_seats = self._engine.seats
        self._left = 0  # jobs that have left without making room; below 0 where seats are still to be given up
        self._replanner = Replanner(
            queue, metrics, model, registry=registry or Registry(()), degrade_at=settings.degrade_at
        )
        self._beat = Beat(queue, settings.beat_s, self._progress, self._engine.speed.snapshot, self._sync_plans)
        self._idle = IdleClock()
        self._stopping = threading.Event()

    def warm_up(self, width: int, height: int) -> None:
        """Make the first request as fast as the next, at this size in pixels, and measure what it will take."""
        self._engine.warm_up(width, height)

    def stop(self) -> None:
        """Ask the worker to drain: claim no more, finish what is nearly done, give the rest back."""
        self._stopping.set()

    def run(self) -> None:
        """Work until `stop`, then drain; whatever ends it, no job is kept.

        Raises:
            DeviceLostError: the process must end, since no later job could be drawn in it.
        """
        self._publish_speed()
        self._beat.start()
        self._intake.start()
        try:
            while not self._stopping.is_set():
                self._turn(wait_s=_IDLE_S if not len(self._engine) else 0)
                if self._idle.is_due(time.monotonic(), idle=not len(self._engine)):
                    self._remeasure()
            self._drain()
        except DeviceLostError as lost:
            self._abandon(lost)
            raise
        finally:
            self._leave()

    def _publish_speed(self) -> None:
        """Tell what was measured until now; before anything says that this worker lives, so that none is unmeasured."""
        speed = self._engine.speed.snapshot()
        if speed is None:
            return
        try:
            self._queue.publish_speed(speed)
        except PacerError as error:  # the beats will tell it
            _log.warning("speed not published", detail=error.detail)

    def _remeasure(self) -> None:
        try:
            self._engine.remeasure()
        except Exception as error:
            if is_lost(error):
                raise DeviceLostError((), error) from error
            _log.exception("idle turn failed")  # nobody waits for it: what is wrong, the next image will tell

    def _drain(self) -> None:
        """Give back what has not begun, and finish what can be finished soon."""
        self._intake.stop()
        self._give_back(self._intake.take(0))
        end = time.monotonic() + self._settings.drain_s
        while len(self._engine) and time.monotonic() < end:
            self._turn(wait_s=0, admitting=False)

    def _abandon(self, lost: DeviceLostError) -> None:
        """Let go of the jobs that the device failed under, their attempt charged: one of them may be the reason."""
        _log.error("device lost", jobs=lost.job_ids, detail=str(lost))
        blamed = [claim for claim in self._ours() if claim.job.id in lost.job_ids]
        for claim in blamed:
            self._forget(claim)
        try:
            self._queue.abandon(blamed)
        except PacerError as error:
            _log.warning("jobs not let go; their leases will run out", detail=error.detail)

    def _leave(self) -> None:
        """Hand in what is drawn, give the rest back, and go; leases do it where the store is away."""
        self._intake.stop()
        self._engine.close()
        self._delivery.close()
        self._give_back(self._ours())
        self._beat.stop()
        try:
            self._queue.retire()
        except PacerError as error:
            _log.warning("could not sign off", detail=error.detail)

    def _give_back(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._engine.drop(claim.job.id)
            self._forget(claim)
        try:
            self._queue.release(claims)
        except PacerError as error:
            _log.warning("jobs not given back; their leases will run out", detail=error.detail)
        _log.info("gave back", jobs=len(claims))

    def _turn(self, *, wait_s: float, admitting: bool = True) -> None:
        if admitting:
            for claim in self._intake.take(wait_s):
                self._admit(claim)
        self._let_go()
        if not len(self._engine):
            return
        self._replan()
        turn = self._engine.turn()
        if turn.stepped:
            self._metrics.denoise_step.labels(self._model).observe(turn.seconds)
            self._metrics.batch_size.labels(self._model).observe(len(turn.stepped))
        self._note_steps()
        for ended in turn.ended:
            self._end(ended)

    def _end(self, ended: Drawn | Failed | GivenBack) -> None:
        if isinstance(ended, GivenBack):
            self._give_back([ended.claim])
        else:
            self._delivery.submit(ended)
        self._make_room(ended.claim)

    def _make_room(self, claim: Claim) -> None:
        """Say that a job has left, unless the engine is closed for now, or has fewer seats than before."""
        had_slot = not self._intake.leave_express(claim.job.id)
        seats = min(self._engine.seats, self._settings.slots)
        if self._engine.seats < self._all_seats:
            self._intake.close_express()
        self._left += had_slot + seats - self._seats
        self._seats = seats
        if self._left > 0 and not self._engine.closed:
            self._intake.make_room(self._left)
            self._left = 0

    def _note_steps(self) -> None:
        with self._lock:
            for claim, step in self._engine.progress():
                known = self._steps.get(claim.job.id)
                if known is None or known[0].fence <= claim.fence:  # else it was claimed anew, and is adopted next turn
                    self._steps[claim.job.id] = (claim, step)

    def _admit(self, claim: Claim) -> None:
        if self._engine.adopt(claim):
            self._make_room(claim)
            return
        waited = max(0, claim.claimed_ms - claim.submitted_ms) / 1000
        self._metrics.job_queue.labels(self._model).observe(waited)
        ended = self._engine.admit(self._replanner.admitted(claim))
        if ended is not None:
            self._end(ended)

    def _replan(self) -> None:
        """Let one of the jobs that step go on by another plan, where that serves it."""
        job = self._replanner.between(self._engine.progress())
        claim = None if job is None else self._engine.replan(job)
        if claim is not None:
            self._replanner.note(claim)

    def _sync_plans(self) -> None:
        self._replanner.sync(wanted=bool(self._ours()))  # also for what waits to be claimed while there are some

    def _let_go(self) -> None:
        """Drop what was cancelled or lost to another worker."""
        for (job_id, fence), verdict in self._beat.take_lost().items():
            claim = self._engine.drop(job_id, fence)
            if claim is None:
                continue
            self._make_room(claim)
            self._forget(claim)
            _log.info("job dropped", job=job_id, verdict=verdict)

    def _hold(self, claim: Claim) -> None:
        with self._lock:
            self._steps[claim.job.id] = (claim, 0)

    def _forget(self, claim: Claim) -> None:
        with self._lock:
            held = self._steps.get(claim.job.id)
            if held is not None and held[0].fence == claim.fence:
                del self._steps[claim.job.id]

    def _ours(self) -> list[Claim]:
        """Every job that we hold, wherever it is."""
        with self._lock:
            return [claim for claim, _ in self._steps.values()]

    def _progress(self) -> list[Progress]:
        with self._lock:
            held = list(self._steps.values())
        return [Progress(claim.job.id, claim.fence, step) for claim, step in held]


def _engine(
    family: Family,
    settings: Settings,
    metrics: Metrics,
    model: str,
    *,
    express: int,
    loras: Loras | None,
    smaller: Mapping[str, Family] | None,
) -> Engine:
    """The engine as the settings have it."""
    return Engine(
        family,
        slots=settings.slots,
        max_rows=settings.max_batch_rows,
        best_effort_slack_s=settings.best_effort_slack_s,
        express=express,
        last_attempt=settings.max_attempts,
        policy=POLICIES[settings.policy],
        aging_s=settings.aging_s,
        batch_invariant=settings.batch_invariant,
        overlap=settings.overlap == "on" or (settings.overlap == "auto" and family.device.type != "cpu"),
        prompt_cache_bytes=settings.prompt_cache_bytes,
        on_out_of_memory=lambda stage: metrics.out_of_memory.labels(model, stage).inc(),
        longest=settings.max_steps,
        loras=loras,
        smaller=smaller,
        bucketed=settings.cuda_graphs,
    )
