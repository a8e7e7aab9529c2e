"""What the operations of the job queue cost, in microseconds of wall-clock, against the embedded store.

    python benchmarks/job_queue.py [--jobs 1000] [--steps 10] [--batch 8] [--image-bytes 12000] [--json FILE]

One client and one server on this machine over a unix socket; a call is one round trip with packing and unpacking.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pacer.embedded_store import EmbeddedStore
from pacer.jobs.connection import connect, connect_async
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Plan, Progress, TableMessage, Timings
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings
from schedules.table import Table, all_fresh

MODEL = "shapes-64"
TIMINGS = Timings(0.1, 0.1, 0.1, 0.1, 0.4)
Samples = defaultdict[str, list[float]]


def job_of(steps: int) -> Job:
    """A job of Euler on a uniform grid."""
    sigmas = np.linspace(1.0, 0.0, steps + 1)
    rows = np.ones((steps + 1, 1)) @ np.concatenate([[1.0], np.diff(sigmas)])[None, :]
    ones = np.ones(steps)
    table = Table(1000 * sigmas[:-1], ones, ones, all_fresh(steps), np.tril(rows))
    plan = Plan(
        MODEL, f"{MODEL}/euler/{steps}", "euler", steps, 2 * steps, tuple(sigmas.tolist()), 0.5, (30.0, 29.0, 31.0)
    )
    prompt = "a red circle above a blue square on a gray background"
    return Job(new_job_id(MODEL), prompt, "", 1, 64, 64, 4.0, plan, TableMessage.of(table))


async def submit_all(url: str, settings: Settings, jobs: Sequence[Job], samples: Samples) -> None:
    """Submit one by one, then read each one's status."""
    async with connect_async(url) as client:
        store = JobStore(client, settings)
        for job in jobs:
            start = time.perf_counter()
            await store.submit([job], predicted_s=0.5)
            samples["submit, 1 job"].append(time.perf_counter() - start)
        for job in jobs:
            start = time.perf_counter()
            await store.status(job.id)
            samples["status"].append(time.perf_counter() - start)


def work(queue: WorkerQueue, batch: int, image: bytes, samples: Samples) -> None:
    """Claim, beat and finish until nothing waits."""

    def timed(name: str, start: float) -> None:
        samples[name].append(time.perf_counter() - start)

    start = time.perf_counter()
    while claims := queue.claim(batch):
        timed(f"claim, {batch} jobs", start)
        beat(queue, claims, timed)
        for claim in claims:
            start = time.perf_counter()
            queue.finish(claim, image, TIMINGS)
            timed(f"finish, {len(image)} B", start)
        start = time.perf_counter()


def beat(queue: WorkerQueue, claims: Sequence[Claim], timed: Callable[[str, float], None]) -> None:
    """One beat with a step each, and one without."""
    start = time.perf_counter()
    queue.beat([Progress(claim.job.id, claim.fence, 1) for claim in claims])
    timed(f"beat, {len(claims)} jobs", start)
    start = time.perf_counter()
    queue.beat([])
    timed("beat, idle", start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("jobs", 1000), ("steps", 10), ("batch", 8), ("image-bytes", 12_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    samples: Samples = defaultdict(list)
    settings = Settings(queue_limit=options.jobs)
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore(Path(folder)) as server, connect(server.url) as client:
        jobs = [job_of(options.steps) for _ in range(options.jobs)]
        asyncio.run(submit_all(server.url, settings, jobs, samples))
        queue = WorkerQueue(client, settings, MODEL, "bench")
        work(queue, options.batch, bytes(options.image_bytes), samples)
    figures = {
        name: {"median_us": statistics.median(values) * 1e6, "p95_us": statistics.quantiles(values, n=20)[-1] * 1e6}
        for name, values in samples.items()
        if len(values) > 1
    }
    for name, figure in figures.items():
        print(f"{name:20} median {figure['median_us']:7.0f} us   p95 {figure['p95_us']:7.0f} us")
    if options.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        options.json.write_text(json.dumps({**machine, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
