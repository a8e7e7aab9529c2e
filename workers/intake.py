"""The intake: claims jobs on a thread of its own, so that the store's round trips never hold up a step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import structlog

from pacer.errors import PacerError
from pacer.jobs.messages import Claim
from pacer.jobs.worker_queue import WorkerQueue

_log = structlog.get_logger(__name__)
_WAIT_S = 0.5
_RETRY_S = 1.0


class Intake(threading.Thread):
    """Claims as many jobs as there is room for, and hands them over.

    Args:
        source: the worker's side of the queue.
        slots: most jobs held at once, those handed over and those waiting here together.
        on_claim: told of each claim at once, on this thread: from now on its lease needs beats.
    """

    def __init__(self, source: WorkerQueue, slots: int, on_claim: Callable[[Claim], None]) -> None:
        super().__init__(name="intake", daemon=True)
        self._source = source
        self._slots = slots
        self._on_claim = on_claim
        self._claimed: queue.SimpleQueue[Claim] = queue.SimpleQueue()
        self._room = threading.Semaphore(slots)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Claim until `stop`."""
        while not self._stopping.is_set():
            if not self._room.acquire(timeout=_WAIT_S):
                continue
            room = 1 + self._acquire_more()
            claims = self._claim(room)
            for claim in claims:
                self._on_claim(claim)
                self._claimed.put(claim)
            for _ in range(room - len(claims)):
                self._room.release()

    def _acquire_more(self) -> int:
        count = 0
        while count < self._slots and self._room.acquire(blocking=False):
            count += 1
        return count

    def _claim(self, room: int) -> list[Claim]:
        try:
            claims = self._source.claim(room)
            if not claims:
                self._source.wait(_WAIT_S)
        except PacerError as error:
            _log.warning("claim failed", detail=error.detail)
            self._stopping.wait(_RETRY_S)
            return []
        except Exception:  # noqa: BLE001 -- a worker that claims no more must not look alive
            _log.exception("claim failed: this is a bug")
            self._stopping.wait(_RETRY_S)
            return []
        return claims

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

    def stop(self) -> None:
        """Claim no more."""
        self._stopping.set()
        self.join()
