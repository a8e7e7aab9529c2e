"""Ways to go on: what begins as a job has begun, and nothing for a job of another table."""

from __future__ import annotations

import msgspec
import pytest

from pacer.control.ways import Sampler, Ways
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Job, Plan, TableMessage, WorkerSpeed
from schedules.registry import Registry
from schedules.table import common_rows

REGISTRY = Registry.load()
SPEED = WorkerSpeed(turn_seconds=0.02, row_seconds=0.01, encode_seconds=0.1, decode_seconds=0.2)


def ways_of(job: Job, done: int) -> tuple[Sampler, tuple[Sampler, ...]] | None:
    return Ways(REGISTRY, "shapes-64").of(job.plan, job.table, job.guidance_scale, done)


def job_of(solver: str, steps: int) -> Job:
    schedule, entry = REGISTRY.find(f"shapes-64/{solver}/{steps}")
    table = schedule.table(entry)
    name = schedule.entry_id(steps)
    plan = Plan("shapes-64", name, solver, steps, 2 * steps, entry.sigmas, None, None)
    return Job(
        id=new_job_id("shapes-64"), prompt="a red circle", negative_prompt="", seed=1, width=64, height=64,
        guidance_scale=1.5, plan=plan, table=TableMessage.of(table),
    )  # fmt: skip


def test_before_it_begins_a_job_can_have_any_budget() -> None:
    own, others = ways_of(job_of("learned", 6), 0) or pytest.fail("no ways")
    assert own.way.steps == 6
    assert {each.way.steps for each in others} == set(range(1, 21)) - {6}
    assert all(each.evidence for each in others)


@pytest.mark.parametrize("solver", ["learned", "euler", "dpmpp-2m"])
@pytest.mark.parametrize("done", [1, 2, 5])
def test_what_was_made_stays(solver: str, done: int) -> None:
    job = job_of(solver, 8)
    own, others = ways_of(job, done) or pytest.fail("no ways")
    for each in others:
        assert common_rows(job.table.table(), each.table.table()) >= done
        assert each.way.steps > done
        assert each.way.steps != own.way.steps
    if (solver, done) == ("euler", 1):
        assert others, "every grid of a formula begins with pure noise"


def test_a_plan_made_anew_says_what_it_was() -> None:
    job = job_of("learned", 6)
    _, others = ways_of(job, 0) or pytest.fail("no ways")
    twelve = next(each for each in others if each.way.steps == 12)
    plan = twelve.plan(job.plan, 0, SPEED)
    assert (plan.schedule, plan.steps, plan.evaluations, plan.replanned) == ("shapes-64/learned/12", 12, 24, (6, 0))
    assert plan.predicted_quality_db is not None
    assert plan.predicted_seconds == pytest.approx(0.1 + 12 * 0.02 + 24 * 0.01 + 0.2)
    assert twelve.plan(plan, 0, SPEED).replanned == (6, 0), "it tells what was planned first"


@pytest.mark.parametrize("schedule", ["uniform", "custom", "shapes-64/learned", "shapes-64/none/6", "other/learned/6"])
def test_other_schedules_have_no_other_ways(schedule: str) -> None:
    job = job_of("learned", 6)
    assert ways_of(_named(job, schedule), 0) is None


def test_another_registrys_table_has_none() -> None:
    assert ways_of(_named(job_of("learned", 6), "shapes-64/learned/7"), 0) is None


def _named(job: Job, schedule: str) -> Job:
    return msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, schedule=schedule))
