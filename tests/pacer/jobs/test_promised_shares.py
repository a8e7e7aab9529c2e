"""Owners share what may be promised: what each holds is known, and none promises itself all of the workers' time."""

import random

import msgspec
import pytest

from pacer.control.inflow import Inflow
from pacer.control.limits import Forecast, Limits
from pacer.control.load import SEEN_S
from pacer.errors import ErrorKind
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Progress, WorkerSpeed
from pacer.jobs.owners import EVERYBODY
from pacer.jobs.store import JobStore
from pacer.settings import Settings

MODEL = "shapes-64"
DIGESTS = {name: name * 64 for name in ("a", "b")}
HEAVY, LIGHT = (digest[:16] for digest in DIGESTS.values())
SPEED = WorkerSpeed(turn_seconds=0.2, row_seconds=0.1, encode_seconds=0.1, decode_seconds=0.1, rows=8)
"""So slow that a flood takes no time beside its deadlines."""
STEPS = (1, 4, 8, 20, 50)


def alone_s(steps):
    return 0.2 + steps * 0.4


@pytest.fixture
async def wide(async_client, worker):
    worker().publish_speed(SPEED)
    worker().beat([])
    store = JobStore(async_client, Settings(queue_limit=5000))
    yield store
    await store.close()


async def ask(store, make_job, owner, steps, deadline_s, images=1):
    """Whether a request is taken in, as the gateway decides it."""
    load = await store.load(MODEL, Inflow(images, 0, 2 * steps * images), owner)
    forecast = Forecast.of(load, deadline_s, owner)
    if not Limits(steps=(1, 100), latency_s=deadline_s, forecast=forecast, images=images).in_time(steps, 2 * steps):
        return False
    job = make_job(steps=steps, deadline_s=deadline_s)
    jobs = [msgspec.structs.replace(job, id=new_job_id(MODEL)) for _ in range(images)]
    await store.submit(jobs, predicted_s=alone_s(steps), owner=owner)
    return True


async def flood(store, make_job, owner, rng, most_steps):
    """Send everything that there is until nothing is taken in any more; returns how many images were."""
    taken, refused = 0, 0
    while refused < 25:
        steps, images = rng.choice([n for n in STEPS if n <= most_steps]), rng.choice((1, 1, 4, 10))
        held = await ask(store, make_job, owner, steps, rng.choice((1.02, 1.5, 2, 3, 5, 20)) * alone_s(steps), images)
        taken, refused = taken + images * held, 0 if held else refused + 1
    return taken


@pytest.mark.parametrize("seed", range(12))
async def test_a_light_key_is_taken_in_at_once_whatever_a_heavy_one_has_sent(client, wide, make_job, seed):
    """The bound: with four times what its own image and the heavy key's longest take, each alone."""
    rng = random.Random(seed)
    most_steps = rng.choice(STEPS)
    assert not await ask(wide, make_job, LIGHT, 1, 0.001), "who asks in vain is known to ask"
    assert await flood(wide, make_job, HEAVY, rng, most_steps)
    for steps in rng.sample(STEPS, len(STEPS)):
        load = await wide.load(MODEL, Inflow(1, 0, 2 * steps), LIGHT)
        deadline_s = 4 * (alone_s(steps) + alone_s(most_steps))
        limits = Limits(steps=(1, 100), latency_s=deadline_s, forecast=Forecast.of(load, deadline_s, LIGHT))
        assert limits.in_time(steps, 2 * steps), f"{steps} steps in {deadline_s:g} s"


async def test_a_key_that_is_alone_loses_nothing(client, wide, make_job):
    held = {}
    for owner in (EVERYBODY, HEAVY):
        client.flushall()
        client.hset(f"{{q:{MODEL}}}:speeds", "w1", msgspec.msgpack.encode(SPEED))
        held[owner] = [await ask(wide, make_job, owner, 8, 60.0) for _ in range(60)]
    assert held[HEAVY] == held[EVERYBODY]
    assert 10 < sum(held[HEAVY]) < 60


@pytest.mark.parametrize(("weight", "share"), [(1.0, 1 / 2), (3.0, 3 / 4), (0.25, 1 / 5)])
async def test_a_key_leaves_as_much_free_as_it_holds_over_its_weight(
    async_client, wide, make_job, client, weight, share
):
    weighted = Settings(queue_limit=5000, api_keys=tuple(DIGESTS.values()), key_weights={DIGESTS["a"]: weight})
    store = JobStore(async_client, weighted)
    whole = [await ask(store, make_job, HEAVY, 4, 400.0) for _ in range(600)]
    for key in client.keys("{q:*}:job:*"):
        await store.cancel(key.decode().split(":")[-1])
    await ask(store, make_job, LIGHT, 1, 0.001)
    assert not whole[-1]
    part = [await ask(store, make_job, HEAVY, 4, 400.0) for _ in range(600)]
    assert sum(part) == pytest.approx(share * sum(whole), rel=0.05)


async def test_two_keys_that_flood_hold_the_same(wide, make_job, client):
    for _ in range(300):
        for owner in (HEAVY, LIGHT):
            await ask(wide, make_job, owner, 4, 400.0)
    held = {owner: sum(map(int, client.hvals(f"{{q:{MODEL}}}:due:{owner}"))) for owner in (HEAVY, LIGHT)}
    assert held[HEAVY] == pytest.approx(held[LIGHT], rel=0.02)


async def test_who_has_not_asked_for_long_is_forgotten(client, wide, make_job):
    assert await ask(wide, make_job, LIGHT, 1, 1000.0)
    assert (await wide.load(MODEL, owner=HEAVY)).own is not None
    assert (await wide.load(MODEL, owner=LIGHT)).own is None, "a quote asks for nothing, and it is alone"
    [(_, asked_ms)] = client.zrange(f"{{q:{MODEL}}}:asked", 0, -1, withscores=True)
    client.zadd(f"{{q:{MODEL}}}:asked", {LIGHT: asked_ms - 1000 * SEEN_S - 1})
    assert (await wide.load(MODEL, owner=HEAVY)).own is None


async def test_workers_leave_as_much_free_as_all_owners_hold(wide, make_job, worker):
    await ask(wide, make_job, HEAVY, 8, 60.0)
    assert worker().load().own is None
    await ask(wide, make_job, LIGHT, 8, 60.0)
    load = worker().load()
    assert load.own is not None
    assert (load.own.held, load.own.images) == (load.work.held, load.work.images) == (32, 2)


def held_of(client, owner):
    """Forwards and images that an owner was promised."""
    held = {b"d": 0, b"n": 0}
    for name, number in client.hgetall(f"{{q:{MODEL}}}:due:{owner}").items():
        held[name[:1]] += int(number)
    return held[b"d"], held[b"n"]


async def test_what_an_owner_was_promised_is_known_through_the_life_of_its_jobs(
    client, wide, make_job, worker, timings, lapse
):
    job = make_job(steps=10, deadline_s=60.0)
    jobs = [job, *(msgspec.structs.replace(job, id=new_job_id(MODEL)) for _ in range(3))]
    await wide.submit(jobs, predicted_s=1.0, owner=HEAVY)
    await wide.submit([make_job(steps=10)], predicted_s=1.0, owner=HEAVY)  # no deadline, no promise
    await wide.submit([make_job(steps=5, deadline_s=90.0)], predicted_s=1.0, owner=LIGHT)
    await wide.submit([make_job(steps=5, deadline_s=90.0)], predicted_s=1.0)
    assert (held_of(client, HEAVY), held_of(client, LIGHT)) == ((80, 4), (10, 1))
    assert held_of(client, EVERYBODY) == (0, 0), "it has nobody to share with"
    claims = {claim.job.id: claim for claim in worker().claim(7)}
    first, second, third, fourth = (claims[one.id] for one in jobs)
    worker().beat([Progress(first.job.id, first.fence, 4)])
    assert held_of(client, HEAVY) == (72, 4)
    longer = msgspec.structs.replace(first.job.plan, evaluations=40)
    assert worker().replan(msgspec.structs.replace(first, job=msgspec.structs.replace(first.job, plan=longer)))
    assert held_of(client, HEAVY) == (84, 4)
    worker().release([first])
    assert held_of(client, HEAVY) == (100, 4), "it begins anew"
    lapse(second.job.id)
    assert worker().claim(0) == []
    assert held_of(client, HEAVY) == (100, 4)
    assert worker().finish(third, b"image", timings)
    assert held_of(client, HEAVY) == (80, 3)
    assert worker().fail(fourth, ErrorKind.not_finite, "Overflow.")
    await wide.cancel(first.job.id)
    assert held_of(client, HEAVY) == (20, 1)
    client.hset(f"{{q:{MODEL}}}:job:{second.job.id}", "deadline_ms", 1)
    worker().claim(1)
    assert (held_of(client, HEAVY), held_of(client, LIGHT)) == ((0, 0), (10, 1))
