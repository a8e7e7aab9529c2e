"""A worker on the real store: jobs are drawn, cancelled, failed, given back, and survive their worker's death."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import redis
from PIL import Image
from prometheus_client import CollectorRegistry

from pacer.jobs.connection import connect, connect_async
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import TERMINAL, Job, JobStatus, Leeway, Plan, TableMessage, WorkerSpeed
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import make_metrics
from pacer.models import ModelCard
from pacer.settings import Settings
from schedules.artefact import Entry, Schedule
from schedules.compile import compile_table
from schedules.evidence import Evidence, Figure, Provenance, ValidFor
from schedules.registry import Registry
from schedules.search.splicing import resumed
from schedules.splice import Splice
from schedules.stored_table import StoredTable
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


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings.model_validate({"redis_url": redis_url, **FAST})


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


def test_jobs_become_pictures_with_their_provenance(family: Sd3Family, settings: Settings) -> None:
    jobs = [make_job(steps, seed=steps) for steps in (1, 4, 9)]
    jobs.append(make_job(2, image_format="jpeg", compression=50))
    jobs.append(make_job(2, image_format="webp"))
    with running(family, settings) as registry:
        submit(settings, jobs)
        wait_until(ended(settings, jobs))
        count = registry.get_sample_value("pacer_jobs_total", {"model": MODEL, "outcome": "completed"})
    for job in jobs:
        found = status(settings, job)
        assert (found.status, found.step) == ("completed", job.plan.steps)
        assert found.timings is not None
        assert found.timings.service > 0
        with Image.open(io.BytesIO(image(settings, job))) as picture:
            assert (picture.format, picture.size) == (job.image_format.upper(), (64, 64))
            if job.image_format == "png":
                assert picture.info["prompt"] == job.prompt  # type: ignore[unused-ignore]
                assert picture.info["seed"] == str(job.seed)
    assert count == len(jobs)


def test_an_idle_worker_finds_out_that_it_is_fast_again(family: Sd3Family, settings: Settings) -> None:
    """As slow as it measured itself every deadline would be refused, and nothing drawn that could tell it better."""
    metrics = make_metrics("worker")
    queue = WorkerQueue(connect(str(settings.redis_url)), settings, MODEL, "in-process")
    worker = Worker(family, queue, settings, metrics, MODEL)
    worker.warm_up(64, 64)
    meter = worker._engine.speed  # a bad moment of the host cannot be made from outside
    meter.encoded(5.0)
    meter.decoded(5.0)
    for rows in (2, 4, 8) * 8:
        meter.stepped(10.0 + rows, rows)

    def told() -> WorkerSpeed:
        speed = call(settings, lambda store: store.speed(MODEL))
        assert isinstance(speed, WorkerSpeed)
        return speed

    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(lambda: call(settings, lambda store: store.speed(MODEL)) is not None)
        assert told().encode_seconds > 1
        wait_until(lambda: told().encode_seconds < 1 and told().turn_seconds < 3)
    finally:
        worker.stop()
        thread.join(timeout=30)


def test_a_seed_means_the_same_picture_whatever_the_company(family: Sd3Family, settings: Settings) -> None:
    alone, together = make_job(6, seed=5), [make_job(n, seed=5) for n in (6, 2, 9, 13)]
    with running(family, settings):
        submit(settings, [alone])
        wait_until(ended(settings, [alone]))
        submit(settings, together)
        wait_until(ended(settings, together))
    first, second = (
        np.asarray(Image.open(io.BytesIO(image(settings, job))), dtype=np.int16) for job in (alone, together[0])
    )
    assert np.abs(first - second).max() <= 1


def test_an_overflowing_job_fails_by_name_and_alone(family: Sd3Family, settings: Settings) -> None:
    good = make_job(5)
    broken = good.table.table()
    rows = broken.X.copy()
    rows[1:, 0] = 1e38
    bad = make_job(5, table=Table(broken.t, broken.c * 1e3, broken.w, broken.uncond, rows))
    with running(family, settings):
        submit(settings, [good, bad])
        wait_until(ended(settings, [good, bad]))
    assert status(settings, good).status == "completed"
    found = status(settings, bad)
    assert (found.status, found.error_kind) == ("failed", "not_finite")


def test_a_job_past_its_deadline_has_expired_and_says_so(family: Sd3Family, settings: Settings) -> None:
    late = make_job(900, deadline_s=0.5)
    labels = {"model": MODEL, "outcome": "expired"}
    with running(family, settings) as registry:
        submit(settings, [late])
        wait_until(ended(settings, [late]))
        wait_until(lambda: registry.get_sample_value("pacer_jobs_total", labels) == 1)
    told = status(settings, late)
    assert (told.status, told.error_kind) == ("expired", "deadline_passed")
    assert told.error_detail is not None
    assert "of 900 evaluations" in told.error_detail


def test_a_running_job_can_be_cancelled(family: Sd3Family, settings: Settings) -> None:
    long = make_job(900)
    with running(family, settings):
        submit(settings, [long])
        wait_until(lambda: status(settings, long).step > 0)
        call(settings, lambda store: store.cancel(long.id))
        after = make_job(2)
        submit(settings, [after])
        wait_until(ended(settings, [after]))
    assert status(settings, long).status == "cancelled"


def test_a_stopping_worker_gives_its_jobs_back_uncharged(family: Sd3Family, settings: Settings) -> None:
    long = make_job(900)
    with running(family, settings):
        submit(settings, [long])
        wait_until(lambda: status(settings, long).status == "running")
    found = status(settings, long)
    assert (found.status, found.attempt) == ("queued", 0)


@pytest.fixture
def served_folder(tiny_folder: Path) -> Path:
    card = ModelCard(
        id=MODEL, width=(64, 64, 8), height=(64, 64, 8), guidance_scale=1.5, guidance_range=(1.0, 10.0),
        prediction="flow",
    )  # fmt: skip
    (tiny_folder / "pacer.json").write_text(card.model_dump_json())
    return tiny_folder


def start_process(settings: Settings, folder: Path) -> subprocess.Popen[bytes]:
    names = {"PACER_REDIS_URL": str(settings.redis_url), **{f"PACER_{k.upper()}": str(v) for k, v in FAST.items()}}
    command = [sys.executable, "-m", "app.cli", "worker", "--model", str(folder)]
    return subprocess.Popen(command, env={**os.environ, **names})


def test_a_killed_worker_loses_nothing_and_delivers_once(served_folder: Path, settings: Settings) -> None:
    jobs = [make_job(40 + n, seed=n) for n in range(20)]
    submit(settings, jobs)
    first = start_process(settings, served_folder)
    second: subprocess.Popen[bytes] | None = None
    try:
        wait_until(lambda: any(status(settings, job).step > 5 for job in jobs))
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=10)
        second = start_process(settings, served_folder)
        wait_until(ended(settings, jobs))
    finally:
        for process in (first, second):
            if process is not None:
                process.terminate()
                process.wait(timeout=30)
    found = [status(settings, job) for job in jobs]
    assert {one.status for one in found} == {"completed"}
    assert max(one.attempt for one in found) == 2
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        for job in jobs:
            events = call(settings, lambda store, job=job: _kinds(store, job.id))
            assert isinstance(events, list)
            assert events.count("completed") == 1
        assert client.dbsize() > 0


async def _kinds(store: JobStore, job_id: str) -> list[str]:
    return [event.kind async for event in store.events(job_id)]


def test_a_worker_paused_beyond_its_lease_goes_on_with_its_own_jobs(served_folder: Path, settings: Settings) -> None:
    jobs = [make_job(400, seed=n) for n in range(2)]
    submit(settings, jobs)
    worker = start_process(settings, served_folder)
    try:
        wait_until(lambda: all(status(settings, job).step > 5 for job in jobs))
        worker.send_signal(signal.SIGSTOP)
        time.sleep(1.5 * FAST["lease_s"])
        worker.send_signal(signal.SIGCONT)
        wait_until(ended(settings, jobs))
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    assert [status(settings, job).status for job in jobs] == ["completed", "completed"]


def test_beats_must_come_well_within_a_lease(family: Sd3Family, settings: Settings) -> None:
    slow = settings.model_copy(update={"beat_s": 0.9})
    queue = WorkerQueue(connect(str(settings.redis_url)), slow, MODEL, "slow")
    with pytest.raises(ValueError, match="PACER_BEAT_S"):
        Worker(family, queue, slow, make_metrics("worker"), MODEL)


def figure(mean: float) -> Figure:
    return Figure(mean=mean, low=mean - 1, high=mean + 1)


def shown(psnr_db: float) -> Evidence:
    return Evidence(psnr_db=figure(psnr_db), latent_mse=figure(1.0), seeds=8, seed_offset=0, teacher_steps=100)


def euler(steps: int) -> Table:
    """Every budget begins with another guidance weight, and so otherwise than all others."""
    table = compile_table("euler", np.linspace(1, 0, steps + 1), "flow")
    return replace(table, w=np.append(1 + steps / 100, table.w[1:]))


def spliced(begun: int, done: int, steps: int) -> Splice:
    table = resumed(euler(begun), done, euler(steps))
    sigmas = (*(table.t / 1000).tolist(), 0.0)
    evidence = shown(30.0 + steps - 0.5)
    return Splice(begun=begun, done=done, steps=steps, sigmas=sigmas, table=StoredTable.of(table), evidence=evidence)


@pytest.fixture(scope="module")
def schedules() -> Registry:
    """Schedules of the tiny model for 2 to 8 steps, the more the better."""
    entries = tuple(
        Entry(
            steps=steps, sigmas=tuple(np.linspace(1, 0, steps + 1).tolist()), table=StoredTable.of(euler(steps)),
            evidence=shown(30.0 + steps),
        )
        for steps in range(2, 9)
    )  # fmt: skip
    made = Provenance(
        method="by hand", teacher_steps=100, calibration_seeds=1, calibration_seed_offset=0, prompts_sha256="0" * 64,
        date="2026-11-22", code_version="0",
    )  # fmt: skip
    valid = ValidFor(width=(64, 64), height=(64, 64), guidance_scale=(1.0, 8.0))
    return Registry.of([
        Schedule(
            format="pacer-schedule/1", model=MODEL, revision=None, weights_sha256="0" * 64, dtype="float32",
            quantization=None, prediction="flow", solver="euler", order=1, valid_for=valid, provenance=made,
            entries=entries, splices=(spliced(3, 2, 6), spliced(8, 2, 4)),
        )
    ])  # fmt: skip


def open_job(steps: int = 3, **fields: object) -> Job:
    """A job that was planned with few steps and would take up to seven."""
    job = make_job(steps, seed=steps, table=euler(steps), deadline_s=60.0, leeway=Leeway(2, 7), **fields)
    return msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, schedule=f"{MODEL}/euler/{steps}"))


def is_running(settings: Settings, job: Job) -> Callable[[], bool]:
    return lambda: status(settings, job).status == "running" and status(settings, job).step > 0


def pixels(settings: Settings, job: Job) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image(settings, job)))).astype(int)


def drawn_with(family: Sd3Family, settings: Settings, job: Job, table: Table) -> np.ndarray:
    """What a job with this table from the start comes to."""
    other = msgspec.structs.replace(job, id=new_job_id(MODEL), table=TableMessage.of(table), leeway=None)
    with running(family, settings):
        submit(settings, [other])
        wait_until(ended(settings, [other]))
    return pixels(settings, other)


def drawn_beside_another(family: Sd3Family, settings: Settings, schedules: Registry, job: Job) -> JobStatus:
    """What becomes of a job in a worker that knows its speed and the load, and has another one in hand."""
    first, beside = make_job(2), make_job(300)
    with running(family, settings, schedules):
        submit(settings, [first])
        wait_until(ended(settings, [first]))
        submit(settings, [beside])
        wait_until(is_running(settings, beside))
        time.sleep(0.3)  # until the load is known, which is read after a beat
        submit(settings, [job])
        wait_until(ended(settings, [job]))
    return status(settings, job)


def test_who_waited_gets_more_where_the_crowd_has_gone(
    family: Sd3Family, settings: Settings, schedules: Registry
) -> None:
    one_at_a_time = settings.model_copy(update={"slots": 1})
    first, before, job = make_job(2), make_job(150), open_job()
    with running(family, one_at_a_time, schedules) as registry:
        submit(settings, [first])
        wait_until(ended(settings, [first]))
        submit(settings, [before])
        submit(settings, [job])
        wait_until(ended(settings, [before, job]))
        more = registry.get_sample_value("pacer_replanned_total", {"model": MODEL, "direction": "more"})
    found = status(settings, job)
    assert (found.status, found.plan.steps, found.total, found.plan.replanned) == ("completed", 7, 7, (3, 0))
    assert found.plan.schedule == f"{MODEL}/euler/7"
    assert found.plan.predicted_quality_db == (37.0, 36.0, 38.0)
    assert more == 1
    assert np.abs(pixels(settings, job) - drawn_with(family, settings, job, euler(7))).max() <= 1


def test_who_is_drawn_goes_on_with_more(family: Sd3Family, settings: Settings, schedules: Registry) -> None:
    job = open_job()
    found = drawn_beside_another(family, settings, schedules, job)
    assert (found.plan.steps, found.total, found.plan.replanned) == (6, 6, (3, 2))
    assert found.plan.predicted_quality_db == (35.5, 34.5, 36.5)
    spliced_table = spliced(3, 2, 6).table.table()
    assert np.abs(pixels(settings, job) - drawn_with(family, settings, job, spliced_table)).max() <= 1


@pytest.mark.parametrize("kept", ["binding", "unknown"])
def test_who_must_keep_to_a_plan_does(family: Sd3Family, settings: Settings, schedules: Registry, kept: str) -> None:
    job = open_job()
    if kept == "binding":
        job = msgspec.structs.replace(job, leeway=None)
    else:  # a gateway with other schedules planned it
        job = msgspec.structs.replace(job, table=TableMessage.of(compile_table("ab2", np.linspace(1, 0, 4), "flow")))
    found = drawn_beside_another(family, settings, schedules, job)
    assert (found.plan.steps, found.plan.replanned) == (3, None)
