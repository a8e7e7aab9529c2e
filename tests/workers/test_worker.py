"""A worker on the real store: jobs are drawn, cancelled, failed, given back, and survive their worker's death."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import redis
from PIL import Image

from pacer.jobs.connection import connect
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.metrics import make_metrics
from pacer.settings import Settings
from schedules.table import Table
from tests.workers.on_store import (
    FAST,
    MODEL,
    call,
    ended,
    image,
    make_job,
    running,
    status,
    submit,
    wait_until,
)
from workers.families.sd3 import Sd3Family
from workers.worker import Worker


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


def test_a_promise_is_kept_though_patient_images_have_every_slot(family: Sd3Family, settings: Settings) -> None:
    few = settings.model_copy(update={"slots": 2})
    patient, waiting = [make_job(300, seed=n) for n in range(2)], make_job(300, seed=9)
    with running(family, few) as registry:
        submit(few, [*patient, waiting])
        wait_until(lambda: all(status(few, job).step > 0 for job in patient))
        for seed in range(2):
            promised = make_job(3, seed=seed, deadline_s=20.0)
            submit(few, [promised])
            wait_until(ended(few, [promised]))
            assert status(few, promised).in_time
            assert [status(few, job).status for job in (*patient, waiting)] == ["running", "running", "queued"]
        wait_until(ended(few, [*patient, waiting]))
        count = registry.get_sample_value("pacer_express_total", {"model": MODEL})
    assert count == 2
    for job in (*patient, waiting):
        assert (status(few, job).status, status(few, job).attempt) == ("completed", 1)
        kinds = call(few, lambda store, job=job: _kinds(store, job.id))
        assert isinstance(kinds, list)
        assert "requeued" not in kinds, "it was passed over, and lost nothing"
