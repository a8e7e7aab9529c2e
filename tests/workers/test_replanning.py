"""A worker plans what has a deadline anew: on the real store, before its first step and between two."""

import io
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image

from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Job, JobStatus, Leeway, TableMessage
from pacer.settings import Settings
from schedules.artefact import Entry, Schedule
from schedules.compile import compile_table
from schedules.evidence import Evidence, Figure, Provenance, ValidFor
from schedules.registry import Registry
from schedules.search.splicing import resumed
from schedules.splice import Splice
from schedules.stored_table import StoredTable
from schedules.table import Table
from tests.workers.on_store import (
    MODEL,
    ended,
    image,
    make_job,
    running,
    status,
    submit,
    wait_until,
)
from workers.families.sd3 import Sd3Family


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
    # No promise must start so soon that it would not wait for the slot.
    one_at_a_time = settings.model_copy(update={"slots": 1, "best_effort_slack_s": 0.01})
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
