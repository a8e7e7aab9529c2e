"""Jobs on the real store, and a worker that takes them."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from pacer.jobs.connection import connect, connect_async
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import TERMINAL, Job, JobStatus, Plan, TableMessage
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import make_metrics
from pacer.settings import Settings
from schedules.compile import compile_table
from schedules.registry import Registry
from schedules.table import Table
from workers.families.sd3 import Sd3Family
from workers.worker import Worker

MODEL = "tiny"
FAST = {"lease_s": 1.0, "beat_s": 0.2, "worker_metrics_port": 0, "torch_threads": 1, "drain_s": 0.0}


def make_job(steps: int = 4, *, seed: int = 1, table: Table | None = None, **fields: object) -> Job:
    sigmas = np.linspace(1, 0, steps + 1)
    table = table or compile_table("euler", sigmas, "flow")
    plan = Plan(MODEL, "custom", "euler", steps, table.network_evaluations(1.5), tuple(sigmas.tolist()), None, None)
    job = Job(
        id=new_job_id(MODEL), prompt="a red circle on a white background", negative_prompt="", seed=seed, width=64,
        height=64, guidance_scale=1.5, plan=plan, table=TableMessage.of(table),
    )  # fmt: skip
    return msgspec.structs.replace(job, **fields)


def call(settings: Settings, action: Callable[[JobStore], object]) -> object:
    """Run one coroutine of the gateway's side."""

    async def run() -> object:
        client = connect_async(str(settings.redis_url))
        try:
            return await action(JobStore(client, settings))  # type: ignore[misc]
        finally:
            await client.aclose()

    return asyncio.run(run())


def submit(settings: Settings, jobs: list[Job]) -> None:
    call(settings, lambda store: store.submit(jobs, predicted_s=None))


def status(settings: Settings, job: Job) -> JobStatus:
    found = call(settings, lambda store: store.status(job.id))
    assert isinstance(found, JobStatus)
    return found


def image(settings: Settings, job: Job) -> bytes:
    data, _ = call(settings, lambda store: store.image(job.id))  # type: ignore[misc]
    assert isinstance(data, bytes)
    return data


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def ended(settings: Settings, jobs: list[Job]) -> Callable[[], bool]:
    return lambda: all(status(settings, job).status in TERMINAL for job in jobs)


@contextmanager
def running(family: Sd3Family, settings: Settings, schedules: Registry | None = None) -> Iterator[CollectorRegistry]:
    """A worker in a thread of this process."""
    metrics = make_metrics("worker")
    queue = WorkerQueue(connect(str(settings.redis_url)), settings, MODEL, "in-process")
    worker = Worker(family, queue, settings, metrics, MODEL, registry=schedules)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield metrics.registry
    finally:
        worker.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()
