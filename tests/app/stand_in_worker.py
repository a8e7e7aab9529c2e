"""A worker for the gateway's tests: it claims from the real store, beats, and hands in a real PNG. It draws nothing.

The picture's one colour is made from the seed, so that a test can tell whose picture it got.
"""

from __future__ import annotations

import io
import threading
from typing import Self

from PIL import Image

from pacer.errors import ErrorKind
from pacer.jobs.connection import connect
from pacer.jobs.messages import Claim, Progress, Timings, WorkerSpeed
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

FAILING_PROMPT = "a star that fails"
SLOW_PROMPT = "a star that takes its time"


def colour_of(seed: int) -> tuple[int, int, int]:
    return seed % 256, seed // 256 % 256, 77


def picture_of(seed: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour_of(seed)).save(file, kind)
    return file.getvalue()


class StandInWorker:
    """Runs in a thread until stopped."""

    def __init__(self, settings: Settings, model: str = "shapes-64") -> None:
        assert settings.redis_url is not None
        self._client = connect(settings.redis_url)
        self._queue = WorkerQueue(self._client, settings, model, "stand-in")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stand-in")
        self.drawn: list[str] = []
        self.dropped: list[str] = []
        self.claims: dict[str, Claim] = {}

    def __enter__(self) -> Self:
        self._queue.beat([])
        speed = WorkerSpeed(
            turn_seconds=0.005,
            row_seconds=0.01,
            encode_seconds=0.002,
            decode_seconds=0.003,
            half_within=1.1,
            most_within=1.5,
        )
        self._queue.publish_speed(speed)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._queue.retire()
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._queue.beat([])
            for claim in self._queue.claim(4):
                self.claims[claim.job.id] = claim
                self._draw(claim)
            self._queue.wait(0.05)

    def _draw(self, claim: Claim) -> None:
        job, total = claim.job, claim.job.plan.steps
        for step in range(1, total + 1):
            verdict = self._queue.beat([Progress(job.id, claim.fence, step)])[job.id]
            if verdict == "cancelled":
                self.dropped.append(job.id)
                return
            self._stopping.wait(0.5 if job.prompt == SLOW_PROMPT else 0)
        if job.prompt == FAILING_PROMPT:
            self._queue.fail(claim, ErrorKind.not_finite, "the latents overflowed at step 1")
            return
        waited = (claim.claimed_ms - claim.submitted_ms) / 1000
        kind = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}[job.image_format]
        timings = Timings(queue=waited, encode=0.002, denoise=0.01 * total, decode=0.003, service=0.005 + 0.01 * total)
        self._queue.finish(claim, picture_of(job.seed, kind), timings)
        self.drawn.append(job.id)
