"""The intake: claims jobs on a thread of its own, so that the store's round trips never hold up a step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial

import structlog

from pacer.control.express import Express
from pacer.errors import PacerError
from pacer.jobs.messages import Claim
from pacer.jobs.worker_queue import WorkerQueue

_log = structlog.get_logger(__name__)
_WAIT_S = 0.5
_RETRY_S = 1.0
_POLL_S = 0.05  # between two looks for promises while all slots are taken
_NO_EXPRESS = Express(0, 0.0)


class Intake(threading.Thread):
    """Claims as many jobs as there is room for, and hands them over.

    Args:
        source: the worker's side of the queue.
        slots: most jobs held at once, those handed over and those waiting here together.
        on_claim: told of each claim at once, on this thread: from now on its lease needs beats.
        express: seats beside the slots, for promises; none by default.
        on_express: told whenever one of these is taken.
    """

    def __init__(
        self,
        source: WorkerQueue,
        slots: int,
        on_claim: Callable[[Claim], None],
        express: Express = _NO_EXPRESS,
        on_express: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self._source = source
        self._slots = slots
        self._on_claim = on_claim
        self._claimed: queue.SimpleQueue[Claim] = queue.SimpleQueue()
        self._room = threading.Semaphore(slots)
        self._express = express
        self._tell_express = on_express
        self._lock = threading.Lock()
        self._on_express: list[str] = []  # jobs; twice what was claimed anew while it was here
        self._stopping = threading.Event()

    def run(self) -> None:
        """Claim until `stop`."""
        while not self._stopping.is_set():
            if not self._room.acquire(timeout=_POLL_S if self._express.seats else _WAIT_S):
                self._claim_promises()
                continue
            room = 1 + self._acquire_more()
            claims = self._claim(partial(self._ask, room))
            self._hand_over(claims)
            for _ in range(room - len(claims)):
                self._room.release()

    def _acquire_more(self) -> int:
        count = 0
        while count < self._slots and self._room.acquire(blocking=False):
            count += 1
        return count

    def _claim_promises(self) -> None:
        """Claim what must not wait for a slot, as long as there are express seats for it."""
        while (within_s := self._express_within_s()) is not None and not self._stopping.is_set():
            claims = self._claim(partial(self._source.claim_promise, within_s))
            if not claims:
                return
            with self._lock:
                self._on_express += [claim.job.id for claim in claims]
            self._tell_express()
            self._hand_over(claims)

    def _express_within_s(self) -> float | None:
        with self._lock:
            return self._express.starts_within_s(len(self._on_express))

    def _ask(self, room: int) -> list[Claim]:
        claims = self._source.claim(room)
        if not claims:
            self._source.wait(_WAIT_S)
        return claims

    def _hand_over(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._on_claim(claim)
            self._claimed.put(claim)

    def _claim(self, ask: Callable[[], list[Claim]]) -> list[Claim]:
        try:
            return ask()
        except PacerError as error:
            _log.warning("claim failed", detail=error.detail)
            self._stopping.wait(_RETRY_S)
            return []
        except Exception:  # noqa: BLE001 -- a worker that claims no more must not look alive
            _log.exception("claim failed: this is a bug")
            self._stopping.wait(_RETRY_S)
        return []

    def take(self, timeout_s: float) -> list[Claim]:
        """The jobs claimed since the last call; waits for the first where there is none yet."""
        taken: list[Claim] = []
        try:
            taken.append(self._claimed.get(timeout=timeout_s) if timeout_s > 0 else self._claimed.get_nowait())
            while True:
                taken.append(self._claimed.get_nowait())
        except queue.Empty:
            return taken

    def make_room(self, count: int) -> None:
        """Say that so many jobs have left."""
        if count:
            self._room.release(count)

    def leave_express(self, job_id: str) -> bool:
        """Free the express seat of a job that has left, or say that it had none."""
        with self._lock:
            if job_id not in self._on_express:
                return False
            self._on_express.remove(job_id)
            return True

    def close_express(self) -> None:
        """Claim nothing more beside the slots."""
        self._express = _NO_EXPRESS

    def stop(self) -> None:
        """Claim no more."""
        self._stopping.set()
        self.join()
