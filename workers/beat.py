"""The beat: leases are extended, and cancellations heard, on a thread that is not the compute loop.

Where steps were made since the last beat they are told before the next one, so that those who follow a job see it move
and the planner knows how much is left. Only that, and not often: whatever this thread computes the compute loop waits
for, and on two cores twenty whole beats a second made every turn a fifth longer. docs/experiments.md, "what a turn
waits for", has the trials.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from pacer.errors import PacerError
from pacer.jobs.messages import STEPS_TOLD_S, Progress, Verdict, WorkerSpeed
from pacer.jobs.worker_queue import WorkerQueue

_log = structlog.get_logger(__name__)


class Beat(threading.Thread):
    """Beats every few seconds until stopped; keeps the verdicts that are not "ok" until they are taken.

    Args:
        queue: the worker's side of the queue.
        interval_s: seconds between beats.
        progress: gives the jobs in hand and their steps; called on this thread.
        speed: gives what to publish, if anything was measured; called on this thread.
        after: what else there is to tell and to ask at a beat; called on this thread, it may raise PacerError.
    """

    def __init__(
        self,
        queue: WorkerQueue,
        interval_s: float,
        progress: Callable[[], Sequence[Progress]],
        speed: Callable[[], WorkerSpeed | None],
        after: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="beat", daemon=True)
        self._queue = queue
        self._interval_s = interval_s
        self._progress = progress
        self._speed = speed
        self._after = after
        self._told: list[Progress] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._lost: dict[tuple[str, int], Verdict] = {}

    def run(self) -> None:
        """Beat until `stop`."""
        while True:
            self._try(self.once)
            if self._rest():
                return

    def _rest(self) -> bool:
        """Tell new steps until the next beat is due; whether to stop."""
        due = time.monotonic() + self._interval_s
        while not self._stopping.wait(max(0.0, min(STEPS_TOLD_S, due - time.monotonic()))):
            if time.monotonic() >= due:
                return False
            self._try(self._tell_new_steps)
        return True

    def _try(self, tell: Callable[[], None]) -> None:
        """Tell the store something; leases outlast a few failures."""
        try:
            tell()
        except PacerError as error:  # the store is away
            _log.warning("beat failed", detail=error.detail)
        except Exception:  # noqa: BLE001 -- without beats every job is lost, whatever the reason
            _log.exception("beat failed: this is a bug")

    def once(self) -> None:
        """One beat."""
        self._tell_steps()
        speed = self._speed()
        if speed is not None:
            self._queue.publish_speed(speed)
        self._after()

    def _tell_new_steps(self) -> None:
        """Tell the steps if there are others than were told last."""
        if self._told != list(self._progress()):
            self._tell_steps()

    def _tell_steps(self) -> None:
        """Extend the leases and note the steps; hear which claims to let go of."""
        progress = self._progress()
        self._told = list(progress)
        verdicts = self._queue.beat(progress)
        with self._lock:
            self._lost.update({(job.id, job.fence): verdicts[job.id] for job in progress if verdicts[job.id] != "ok"})

    def take_lost(self) -> dict[tuple[str, int], Verdict]:
        """Claims, by id and fence, to let go of since the last call: cancelled ones, and those fenced out."""
        with self._lock:
            lost, self._lost = self._lost, {}
        return lost

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()
