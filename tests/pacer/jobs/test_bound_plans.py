"""A binding quote in the store is used up with the jobs that it is for, all at once."""

import asyncio

import pytest

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.bound_plans import BoundPlan, BoundPlans


@pytest.fixture
async def plan_id(async_client, make_job):
    job = make_job()
    bound = BoundPlan("everybody", job.plan, job.table, 64, 64, 4.0, 1, None, None)
    plans = BoundPlans(async_client)
    plan_id, _ = await plans.keep(bound, 10)
    assert await plans.find(plan_id, "everybody") == bound
    return plan_id


async def test_of_many_at_once_one_uses_it(store, make_job, plan_id):
    jobs = [make_job() for _ in range(8)]
    ends = await asyncio.gather(
        *(store.submit([job], predicted_s=None, plan_id=plan_id) for job in jobs), return_exceptions=True
    )
    refused = [end for end in ends if isinstance(end, PacerError)]
    assert [error.kind for error in refused] == [ErrorKind.plan_not_binding] * 7
    assert ends.count(None) == 1
    assert await store.depth("shapes-64") == 1


async def test_submitting_again_after_a_lost_reply_changes_nothing(store, make_job, plan_id):
    job = make_job()
    for _ in range(2):
        await store.submit([job], predicted_s=None, plan_id=plan_id)
    assert await store.depth("shapes-64") == 1


async def test_a_full_queue_does_not_use_it_up(store, make_job, plan_id):
    waiting = [make_job() for _ in range(20)]
    await store.submit(waiting, predicted_s=None)
    with pytest.raises(PacerError) as caught:
        await store.submit([make_job()], predicted_s=1.0, plan_id=plan_id)
    assert caught.value.kind is ErrorKind.queue_full
    await store.cancel(waiting[0].id)
    await store.submit([make_job()], predicted_s=None, plan_id=plan_id)
