"""The simulated queue against the real one: the same order, and the same work told to the planner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
import redis

from pacer.control.simulation.queue import SimulatedJob, SimulatedQueue
from pacer.control.work import Work
from pacer.jobs.connection import connect, connect_async
from pacer.jobs.keys import new_job_id, queue_keys
from pacer.jobs.messages import Claim, Job, Plan, Progress, TableMessage, WorkerSpeed
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings
from schedules.compile import compile_table
from schedules.grids import uniform

SETTINGS = Settings(best_effort_slack_s=20.0)
SPEED = WorkerSpeed(0.01, 0.01, 0.0, 0.0)
JOBS: tuple[tuple[int, float | None, float], ...] = (
    (4, 9.0, 0.5), (8, None, 0.5), (20, 3.0, 1.5), (3, 30.0, 0.1), (6, 2.0, 0.1), (5, 0.001, 0.0),
)  # fmt: skip
"""Steps, deadline and predicted service time; the last one's deadline has passed when somebody claims."""

MODEL = "shapes-64"


def job_of(steps: int, deadline_s: float | None) -> Job:
    table, sigmas = compile_table("euler", uniform(steps), "flow"), tuple(uniform(steps).tolist())
    plan = Plan(MODEL, "uniform", "euler", steps, 2 * steps, sigmas, None, None)
    return Job(
        new_job_id(MODEL), "a red circle", "", 1, 64, 64, 4.0, plan, TableMessage.of(table), deadline_s=deadline_s
    )


def work_of(told: dict[str, int]) -> dict[str, int]:
    """By kind, since the real queue's slots are those of the wall clock."""
    return {kind: sum(n for slot, n in told.items() if slot.startswith(kind)) for kind in "dbnm"}


def simulated() -> tuple[SimulatedQueue, list[SimulatedJob]]:
    queue = SimulatedQueue(SETTINGS.queue_limit, SETTINGS.best_effort_slack_s)
    jobs = [SimulatedJob(n, (2,) * steps, 0.01 * n, due, busy) for n, (steps, due, busy) in enumerate(JOBS)]
    for job in jobs:
        queue.submit(job)
    return queue, jobs


async def real(url: str, act: Callable[[list[Job], WorkerQueue], None]) -> dict[str, int]:
    """What the store tells of the work once the jobs were submitted and something was done to them."""
    async with connect_async(url) as client:
        store = JobStore(client, SETTINGS)
        jobs = [job_of(steps, due) for steps, due, _ in JOBS]
        for job, (_, _, busy) in zip(jobs, JOBS, strict=True):
            await store.submit([job], predicted_s=busy)
        await asyncio.sleep(0.01)
        with connect(url) as blocking:
            worker = WorkerQueue(blocking, SETTINGS, MODEL, "w1")
            worker.publish_speed(SPEED)
            worker.beat([])
            await asyncio.to_thread(act, jobs, worker)
            told = cast("dict[bytes, bytes]", blocking.hgetall(queue_keys(MODEL).work))
        load = await store.load(MODEL)
        await store.close()
    sums = {name.decode(): int(number) for name, number in told.items()}
    assert load is not None
    assert load.work.held == Work.of(sums, load.now_ms).held
    return sums


async def test_order_and_expiry_are_the_stores(redis_url: str) -> None:
    order: list[int] = []

    def claim(jobs: list[Job], worker: WorkerQueue) -> None:
        order.extend([job.id for job in jobs].index(one.job.id) for one in worker.claim(10))

    await real(redis_url, claim)
    queue, _ = simulated()
    claimed, expired = queue.claim(10, 0.1)
    assert order == [job.place for job in claimed] == [2, 4, 0, 1, 3]
    assert [job.place for job in expired] == [5]


async def test_the_work_told_is_the_stores(redis_url: str) -> None:
    def nothing(_jobs: list[Job], _worker: WorkerQueue) -> None:
        return

    def claim_and_beat(_jobs: list[Job], worker: WorkerQueue) -> None:
        held: list[Claim] = worker.claim(2)
        worker.beat([Progress(held[0].job.id, held[0].fence, 7), Progress(held[1].job.id, held[1].fence, 1)])

    queue, jobs = simulated()
    assert work_of(await real(redis_url, nothing)) == work_of(dict(queue.sums)) == {"d": 76, "b": 16, "n": 5, "m": 1}
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    queue.claim(2, 0.1)
    queue.set_left(jobs[2], 2 * (20 - 7))
    queue.set_left(jobs[4], 2 * (6 - 1))
    expired = queue.claim(0, 0.1)
    assert expired == ([], [])
    told = work_of(await real(redis_url, claim_and_beat))
    assert told == work_of(dict(queue.sums)) == {"d": 76 - 14 - 2 - 10, "b": 16, "n": 4, "m": 1}


def test_each_due_time_has_its_slot() -> None:
    queue, jobs = simulated()
    assert [job.slot for job in jobs] == ["d90", "b200", "d30", "d300", "d20", "d0"]
    load = queue.load(SPEED, 3, 1.2345)
    assert (load.now_ms, load.workers) == (1234, 3)
    for job in jobs:
        queue.set_left(job, 0)
    assert queue.sums == {}


def test_more_than_may_wait_are_not_taken() -> None:
    queue = SimulatedQueue(1, 20.0)
    queue.submit(SimulatedJob(0, (1,), 0.0, None, 0.0))
    assert queue.full
    with pytest.raises(ValueError, match="1 jobs wait, which is the most that may"):
        queue.submit(SimulatedJob(1, (1,), 0.0, None, 0.0))


@pytest.mark.parametrize(("within_s", "order"), [(0.5, []), (5.0, [2, 4]), (10.0, [2, 4, 0]), (60.0, [2, 4, 0, 3])])
async def test_promises_that_must_start_soon_are_the_stores(redis_url: str, within_s: float, order: list[int]) -> None:
    """The one whose deadline has passed is found on the way, and patient work never."""
    told: list[int] = []

    def claim(jobs: list[Job], worker: WorkerQueue) -> None:
        while one := worker.claim_promise(within_s):
            told.extend([job.id for job in jobs].index(claim.job.id) for claim in one)

    left = work_of(await real(redis_url, claim))
    queue, _ = simulated()
    expired: list[SimulatedJob] = []
    claimed: list[int] = []
    while True:
        job, late = queue.claim_promise(within_s, 0.1)
        expired += late
        if job is None:
            break
        claimed.append(job.place)
    assert told == claimed == order
    assert [job.place for job in expired] == [5]
    assert left == work_of(dict(queue.sums))
