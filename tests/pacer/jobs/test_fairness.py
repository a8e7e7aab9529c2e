"""Owners share the workers: by work and weight, without starving anybody, and without breaking promises."""

import asyncio

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import connect, connect_async
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

MODEL = "shapes-64"
DIGESTS = {name: name[0] * 64 for name in ("a", "b", "c")}
A, B, C = (digest[:16] for digest in DIGESTS.values())
SPEED = WorkerSpeed(turn_seconds=0.02, row_seconds=0.01, encode_seconds=0.0, decode_seconds=0.0, rows=8)
"""A full turn takes 100 ms and makes eight forwards: 80 a second."""


@pytest.fixture
def settings_():
    return Settings(lease_s=30.0, queue_limit=200)


@pytest.fixture
async def wide(async_client, settings_):
    store = JobStore(async_client, settings_)
    yield store
    await store.close()


def owners_of(claims, jobs):
    return [next(owner for owner, ids in jobs.items() if claim.job.id in ids) for claim in claims]


async def fill(store, owner, jobs):
    for job in jobs:
        await store.submit([job], predicted_s=0.2, owner=owner)
    return {job.id for job in jobs}


async def test_a_light_owner_waits_for_one_job_of_each_other_at_most(wide, make_job, worker):
    heavy = await fill(wide, A, [make_job(steps=50) for _ in range(150)])
    assert len(worker().claim(10)) == 10
    for _ in range(5):
        light = await fill(wide, B, [make_job(steps=4)])
        claimed = {claim.job.id for claim in worker().claim(2)}
        assert light <= claimed, "one job of the flood goes before it at most"
        assert len(claimed & heavy) == 1


async def test_alone_an_owner_has_the_whole_of_the_workers_and_its_own_order(wide, make_job, worker):
    jobs = [make_job(deadline_s=deadline) for deadline in (50.0, 20.0, 40.0, 30.0)]
    await fill(wide, A, jobs)
    order = [claim.job.id for claim in worker().claim(10)]
    assert order == [jobs[i].id for i in (1, 3, 2, 0)]


async def test_shares_are_of_work_and_not_of_jobs(wide, make_job, worker):
    jobs = {A: await fill(wide, A, [make_job(steps=20) for _ in range(20)])}
    jobs[B] = await fill(wide, B, [make_job(steps=4) for _ in range(60)])
    owners = owners_of(worker().claim(36), jobs)
    assert owners.count(A) == pytest.approx(6, abs=1)


async def test_large_pictures_are_more_work(wide, make_job, worker):
    large = [msgspec.structs.replace(make_job(), width=128, height=128) for _ in range(20)]
    jobs = {A: await fill(wide, A, large), B: await fill(wide, B, [make_job() for _ in range(40)])}
    owners = owners_of(worker().claim(25), jobs)
    assert owners.count(A) == pytest.approx(5, abs=1)


async def test_weights_are_shares(async_client, make_job, worker):
    weighted = Settings(queue_limit=200, api_keys=tuple(DIGESTS.values()), key_weights={DIGESTS["b"]: 3.0})
    store = JobStore(async_client, weighted)
    jobs = {owner: await fill(store, owner, [make_job() for _ in range(40)]) for owner in (A, B)}
    owners = owners_of(worker().claim(40), jobs)
    assert owners.count(B) == pytest.approx(30, abs=1)


async def test_a_pause_saves_nothing_up(wide, make_job, worker):
    first = await fill(wide, B, [make_job()])
    jobs = {A: await fill(wide, A, [make_job() for _ in range(40)])}
    worker().claim(20)
    jobs[B] = first | await fill(wide, B, [make_job() for _ in range(40)])
    owners = owners_of(worker().claim(20), jobs)
    assert owners.count(B) == pytest.approx(10, abs=1)


async def test_going_away_and_coming_back_sheds_nothing(wide, make_job, worker):
    jobs = {A: set(), B: await fill(wide, B, [make_job() for _ in range(40)])}
    owners = []
    for _ in range(20):  # A's queue is empty each time that its only job was claimed
        jobs[A] |= await fill(wide, A, [make_job(steps=16)])
        owners += owners_of(worker().claim(1), jobs)
    assert owners.count(A) == pytest.approx(4, abs=1)


async def test_a_job_is_paid_for_once(wide, make_job, worker, lapse):
    jobs = {A: await fill(wide, A, [make_job() for _ in range(10)])}
    jobs[B] = await fill(wide, B, [make_job() for _ in range(10)])
    claims = worker().claim(2)
    worker().release(claims)
    again = worker().claim(2)
    lapse(*(claim.job.id for claim in again))
    owners = owners_of(worker().claim(6), jobs)
    assert owners.count(A) == 3, "two of them at no cost, four more in turns"


async def test_a_full_queue_has_room_for_who_holds_less_than_a_share(store, make_job, worker):
    await store.submit([make_job() for _ in range(20)], predicted_s=None, owner=A)  # the limit
    with pytest.raises(PacerError) as caught:
        await store.submit([make_job()], predicted_s=1.0, owner=A)
    assert caught.value.kind is ErrorKind.queue_full
    await store.submit([make_job() for _ in range(10)], predicted_s=None, owner=B)
    for owner in (A, B):
        with pytest.raises(PacerError) as caught:
            await store.submit([make_job()], predicted_s=1.0, owner=owner)
        assert caught.value.kind is ErrorKind.queue_full
    await store.submit([make_job() for _ in range(6)], predicted_s=None, owner=C)
    assert await store.depth(MODEL) == 36


async def test_a_promise_that_has_time_lets_others_have_their_turn(wide, make_job, worker):
    worker().publish_speed(SPEED)
    await fill(wide, A, [make_job(deadline_s=40.0) for _ in range(5)])
    [done] = [claim.job.id for claim in worker().claim(1)]
    light = await fill(wide, B, [make_job()])  # due after the promises
    assert {claim.job.id for claim in worker().claim(1)} == light
    assert done not in light


async def test_a_promise_without_time_goes_before_anybodys_turn(wide, make_job, worker):
    worker().publish_speed(SPEED)
    promised = await fill(wide, A, [make_job(steps=20, deadline_s=10.0) for _ in range(20)])  # 800 forwards of 800
    worker().claim(1)
    light = await fill(wide, B, [make_job()])
    claimed = {claim.job.id for claim in worker().claim(19)}
    assert claimed < promised
    assert {claim.job.id for claim in worker().claim(2)} == light


@pytest.mark.parametrize(
    ("side", "measured", "first"),
    [
        (64, {}, True),  # four full turns of 100 ms, where the promise can wait for a second
        (128, {}, False),  # of 340 ms, by the pixels
        (128, {128 * 128: 0.02}, True),  # of 180 ms, as it was measured
    ],
)
async def test_a_turn_takes_as_long_as_the_size_of_the_picture_makes_it(wide, make_job, worker, side, measured, first):
    worker().publish_speed(msgspec.structs.replace(SPEED, pixels=64.0 * 64, sizes=measured))
    await fill(wide, A, [make_job(deadline_s=1.2) for _ in range(2)])
    worker().claim(1)
    light = await fill(wide, B, [msgspec.structs.replace(make_job(), width=side, height=side)])
    assert ({claim.job.id for claim in worker().claim(1)} == light) == first


async def test_what_is_due_goes_before_promises_due_later(client, wide, make_job, worker):
    """So that a flood of promises, each without time, cannot starve who has none."""
    hasty = Settings(queue_limit=200, best_effort_slack_s=0.001)
    patient = await fill(JobStore(wide._client, hasty), B, [make_job()])
    await fill(wide, A, [make_job(steps=20, deadline_s=10.0) for _ in range(19)])
    claimed = {claim.job.id for claim in worker().claim(2)}
    assert patient <= claimed


async def test_the_work_that_waits_is_known_by_owner(wide, make_job, worker, timings):
    worker().publish_speed(SPEED)
    worker().beat([])
    await fill(wide, A, [make_job(steps=10) for _ in range(8)])
    await fill(wide, B, [make_job(steps=10), make_job(deadline_s=30.0)])
    load = await wide.load(MODEL)
    assert load.owed == {A: 160, B: 20}
    claims = worker().claim(10)
    assert (await wide.load(MODEL)).owed == {}
    worker().release(claims)
    assert (await wide.load(MODEL)).owed == {A: 160, B: 20}
    for claim in claims:
        await wide.cancel(claim.job.id)
    assert (await wide.load(MODEL)).owed == {}


async def test_jobs_of_a_queue_without_owners_are_adopted(client, wide, make_job, worker, lapse):
    jobs = [make_job(), make_job(deadline_s=30.0), make_job()]
    await wide.submit(jobs, predicted_s=None)
    [held] = worker().claim(1)
    for key in client.keys("{q:*}:of:*") + client.keys("{q:*}:active") + client.keys("{q:*}:owed"):
        client.delete(key)
    for job in jobs:
        client.hdel(f"{{q:{MODEL}}}:job:{job.id}", "owner", "cost")
    lapse(held.job.id)
    assert {claim.job.id for claim in worker().claim(5)} == {job.id for job in jobs}
    assert await wide.depth(MODEL) == 0


costs = st.lists(st.integers(1, 60), min_size=12, max_size=12)
two_weights = st.tuples(*[st.sampled_from([0.25, 1.0, 3.0])] * 2)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.tuples(costs, costs), weights=two_weights, count=st.integers(1, 5))
def test_no_owner_gets_ahead_by_more_than_one_job_of_each(redis_url, make_job, steps, weights, count):
    """The bound of start-time fair queueing (Goyal, Vin and Cheng, 1996), for any sizes and weights."""
    owners = (A, B)
    digests = [DIGESTS["a"], DIGESTS["b"]]
    fair = Settings(queue_limit=200, api_keys=tuple(digests), key_weights=dict(zip(digests, weights, strict=True)))
    jobs = {}

    async def submit_all():
        async with connect_async(redis_url) as client:
            for owner, each in zip(owners, steps, strict=True):
                jobs[owner] = await fill(JobStore(client, fair), owner, [make_job(steps=n) for n in each])

    with connect(redis_url) as client:
        client.flushall()
        asyncio.run(submit_all())
        queue = WorkerQueue(client, fair, MODEL, "w")
        share = dict(zip(owners, weights, strict=True))
        most = sum(2 * max(each) / weight for each, weight in zip(steps, weights, strict=True))
        done, left = dict.fromkeys(owners, 0.0), dict.fromkeys(owners, 12)
        while min(left.values()) > 0:
            for claim in queue.claim(count):
                [owner] = owners_of([claim], jobs)
                done[owner] += claim.job.plan.evaluations / share[owner]
                left[owner] -= 1
                assert min(left.values()) == 0 or abs(done[A] - done[B]) <= most


async def test_a_promise_may_be_claimed_out_of_turn_and_is_paid_for(wide, make_job, worker):
    """Whoever's turn it is, a worker without a slot asks for promises alone; then the other owners are served first."""
    owners = {"a": [make_job(deadline_s=30.0), make_job()], "b": [make_job(), make_job()]}
    for owner, jobs in owners.items():
        await fill(wide, owner, jobs)
    assert worker().claim_promise(5.0) == [], "it has time"
    assert [claim.job.id for claim in worker().claim_promise(60.0)] == [owners["a"][0].id]
    assert worker().claim_promise(60.0) == [], "what is left has no deadline"
    assert [claim.job.id for claim in worker().claim(2)] == [owners["b"][0].id, *[owners["a"][1].id]]
