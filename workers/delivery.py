"""The delivery: pictures become files and reach the store on threads of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Claim, Job, Timings
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import Metrics, Stage
from workers.image_file import encode_file, provenance
from workers.turn import Drawn, Failed

_log = structlog.get_logger(__name__)
_THREADS = 2


class Delivery:
    """Hands in what the engine ended, and counts it. A job's lease needs beats until it is done here.

    Args:
        queue: the worker's side of the queue.
        metrics: of this process.
        model: whose jobs these are, for the labels.
        on_done: told of each claim that is handed in or given up, on a thread of the delivery.
        on_delivered: told how many seconds a picture took from here into the store, on such a thread.
        on_ended: told how many seconds a picture took from its job's arrival, and how many were predicted, likewise.
    """

    def __init__(
        self,
        queue: WorkerQueue,
        metrics: Metrics,
        model: str,
        on_done: Callable[[Claim], None],
        *,
        on_delivered: Callable[[float], None] = lambda _seconds: None,
        on_ended: Callable[[float, float], None] = lambda _taken, _predicted: None,
    ) -> None:
        self._queue = queue
        self._metrics = metrics
        self._model = model
        self._on_done = on_done
        self._on_delivered = on_delivered
        self._on_ended = on_ended
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="delivery")

    def submit(self, ended: Drawn | Failed) -> None:
        """Hand in a picture or a failure, soon."""
        self._threads.submit(self._deliver, ended)

    def _deliver(self, ended: Drawn | Failed) -> None:
        try:
            if isinstance(ended, Drawn):
                self._finish(ended)
            else:
                self._fail(ended)
        except PacerError as error:  # the lease runs out, and another worker draws the job again
            _log.error("result not delivered", job=ended.claim.job.id, detail=error.detail)
        except Exception:  # noqa: BLE001 -- one bad picture must not end the thread that delivers the others
            _log.exception("result not delivered: this is a bug", job=ended.claim.job.id)
        finally:
            self._on_done(ended.claim)

    def _finish(self, drawn: Drawn) -> None:
        started = time.monotonic()
        job = drawn.claim.job
        data = encode_file(drawn.pixels, job.image_format, compression=job.compression, texts=provenance(job))
        encoded = time.monotonic()
        service = encoded - drawn.claim.claimed_s
        timings = Timings(_queue_s(drawn.claim), drawn.encode_s, drawn.denoise_s, drawn.decode_s, service)
        kept = self._queue.finish(drawn.claim, data, timings)
        self._observe("encode_file", encoded - started)
        self._observe("store", time.monotonic() - encoded)
        self._on_delivered(time.monotonic() - started)
        if kept:
            self._count_finished(drawn, timings)
        else:
            _log.info("result dropped: the job is no longer ours", job=job.id)

    def _count_finished(self, drawn: Drawn, timings: Timings) -> None:
        self._metrics.jobs.labels(self._model, "completed").inc()
        served = time.monotonic() - drawn.claim.claimed_s  # with the store's write, which the timings cannot hold
        self._metrics.job_e2e.labels(self._model).observe(timings.queue + served)
        self._compare(timings.queue + served, drawn.claim.job)
        self._metrics.job_nfe.labels(self._model).observe(drawn.claim.job.plan.evaluations)
        self._observe("encode", drawn.encode_s)
        self._observe("denoise", drawn.denoise_s)
        self._observe("decode", drawn.decode_s)

    def _compare(self, taken_s: float, job: Job) -> None:
        """Hold what an image took against its plan, which tells of the last of its request.

        One that was planned anew says nothing of the first plan.
        """
        plan = job.plan
        predicted_s = (plan.predicted_seconds or 0.0) + (plan.predicted_wait_seconds or 0.0)
        if predicted_s > 0 and plan.replanned is None and job.last:
            self._metrics.latency_ratio.labels(self._model).observe(taken_s / predicted_s)
            self._on_ended(taken_s, predicted_s)

    def _observe(self, stage: Stage, seconds: float) -> None:
        self._metrics.stage.labels(self._model, stage).observe(seconds)

    def _fail(self, failed: Failed) -> None:
        late = failed.kind is ErrorKind.deadline_passed
        log = _log.info if late else _log.warning
        log("job given up", job=failed.claim.job.id, kind=failed.kind.label, detail=failed.detail)
        if self._queue.fail(failed.claim, failed.kind, failed.detail):
            self._metrics.jobs.labels(self._model, "expired" if late else "failed").inc()

    def close(self) -> None:
        """Wait until everything is handed in."""
        self._threads.shutdown(wait=True)


def _queue_s(claim: Claim) -> float:
    return max(0, claim.claimed_ms - claim.submitted_ms) / 1000
