"""A queue on the real store, seen from a gateway and from workers."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

import msgspec
import numpy as np
import pytest
import redis
import redis.asyncio

from pacer.jobs.connection import connect, connect_async
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Job, Plan, TableMessage, Timings
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings
from schedules.table import Table

MODEL = "shapes-64"


class WorkerMaker(Protocol):
    def __call__(self, name: str = ..., /, **settings: object) -> WorkerQueue: ...


def job_of(*, model: str = MODEL, steps: int = 4, seed: int = 1, deadline_s: float | None = None) -> Job:
    """A job of Euler on a uniform grid."""
    sigmas = np.linspace(1.0, 0.0, steps + 1)
    rows = np.zeros((steps + 1, steps + 1))
    rows[:, 0] = 1.0
    for k in range(steps):
        rows[k + 1 :, k + 1] = sigmas[k + 1] - sigmas[k]
    ones = np.ones(steps)
    table = Table(1000 * sigmas[:-1], ones, ones, ("fresh",) * steps, rows)
    plan = Plan(model, f"{model}/euler/{steps}", "euler", steps, 2 * steps, tuple(sigmas.tolist()), None, None)
    return Job(
        id=new_job_id(model),
        prompt="a red circle",
        negative_prompt="",
        seed=seed,
        width=64,
        height=64,
        guidance_scale=4.0,
        plan=plan,
        table=TableMessage.of(table),
        deadline_s=deadline_s,
    )


TIMINGS = Timings(queue=0.1, encode=0.2, denoise=0.3, decode=0.4, service=0.9)


@pytest.fixture
def make_job() -> Callable[..., Job]:
    return job_of


@pytest.fixture
def timings() -> Timings:
    return TIMINGS


@pytest.fixture
def settings() -> Settings:
    return Settings(lease_s=30.0, queue_limit=20)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
async def async_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with connect_async(redis_url) as client:
        yield client


@pytest.fixture
async def store(async_client: redis.asyncio.Redis, settings: Settings) -> AsyncIterator[JobStore]:
    store = JobStore(async_client, settings)
    yield store
    await store.close()


@pytest.fixture
def worker(client: redis.Redis, settings: Settings) -> WorkerMaker:
    """A worker by name, with settings of its own where given."""

    def make(name: str = "w1", /, **changed: object) -> WorkerQueue:
        return WorkerQueue(client, settings.model_copy(update=changed), MODEL, name)

    return make


@pytest.fixture
def lapse(client: redis.Redis) -> Callable[..., None]:
    """Let leases run out now, instead of waiting for it."""

    def lapse(*ids: str) -> None:
        for job_id in ids:
            assert client.zadd(f"{{q:{MODEL}}}:lease", {job_id: 1}, xx=True, ch=True) == 1

    return lapse


@pytest.fixture
def packed() -> Callable[[object], bytes]:
    return msgspec.msgpack.encode
