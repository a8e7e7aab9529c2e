import asyncio

import msgspec
import pytest
import redis

from pacer.control.inflow import Inflow, InflowMeter
from pacer.control.work import Work
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import connect_async
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Progress, WorkerSpeed
from pacer.jobs.store import JobStore, StaleLoadError
from pacer.settings import Settings


async def refusal(awaitable) -> PacerError:
    with pytest.raises(PacerError) as caught:
        await awaitable
    return caught.value


async def test_a_submitted_job_waits_and_is_told(store, make_job):
    job = make_job(steps=6)
    await store.submit([job], predicted_s=None)
    status = await store.status(job.id)
    assert (status.status, status.step, status.total, status.attempt) == ("queued", 0, 6, 0)
    assert status.plan == job.plan
    assert status.image_format == "png"
    assert (status.finished_ms, status.timings, status.error_kind) == (None, None, None)
    assert status.submitted_ms > 1_700_000_000_000
    assert await store.depth("shapes-64") == 1


async def test_a_job_reaches_the_worker_as_it_was(store, make_job, worker):
    job = make_job(seed=2**63 - 1, deadline_s=30.0)
    await store.submit([job], predicted_s=1.5)
    [claim] = worker().claim(4)
    assert claim.job == job
    assert claim.job.table.table().X.shape == (5, 5)


async def test_the_most_urgent_job_comes_first(store, make_job, worker):
    relaxed, urgent, best_effort, slow = (
        make_job(deadline_s=50.0),
        make_job(deadline_s=5.0),
        make_job(),
        make_job(deadline_s=55.0),
    )
    await store.submit([relaxed], predicted_s=1.0)
    await store.submit([urgent], predicted_s=1.0)
    await store.submit([best_effort], predicted_s=1.0)  # 60 s of slack
    await store.submit([slow], predicted_s=20.0)  # must start before `relaxed`
    order = [claim.job.id for claim in worker().claim(10)]
    assert order == [urgent.id, slow.id, relaxed.id, best_effort.id]


async def test_equals_come_in_the_order_of_their_submission(store, make_job, worker):
    jobs = [make_job() for _ in range(20)]
    for first in range(0, 20, 5):
        await store.submit(jobs[first : first + 5], predicted_s=None)
    order = [claim.job.id for claim in worker().claim(20)]
    assert order == [job.id for job in jobs]


async def test_a_request_is_taken_whole_or_not_at_all(store, make_job, worker):
    await store.submit([make_job() for _ in range(18)], predicted_s=None)
    late = [make_job() for _ in range(3)]
    error = await refusal(store.submit(late, predicted_s=2.0))
    assert error.kind is ErrorKind.queue_full
    assert await store.depth("shapes-64") == 18
    assert [(await refusal(store.status(job.id))).kind for job in late] == [ErrorKind.job_not_found] * 3
    await store.submit(late[:2], predicted_s=None)
    assert await store.depth("shapes-64") == 20


async def test_a_request_larger_than_the_queue_is_no_matter_of_waiting(store, make_job):
    error = await refusal(store.submit([make_job() for _ in range(21)], predicted_s=None))
    assert (error.kind, error.field, error.retry_after_s) == (ErrorKind.invalid_request, "n", None)


async def test_retry_after_follows_the_prediction_until_something_was_measured(store, make_job, worker):
    worker("a").beat([])
    worker("b").beat([])
    await store.submit([make_job() for _ in range(20)], predicted_s=None)
    error = await refusal(store.submit([make_job()] * 4, predicted_s=3.0))
    assert error.retry_after_s == pytest.approx(4 * 3.0 / 2)


async def test_retry_after_follows_the_measured_drain_rate(store, make_job, worker, timings, client):
    await store.submit([make_job() for _ in range(10)], predicted_s=None)
    for claim in worker().claim(10):
        assert worker().finish(claim, b"image", timings)
    assert client.llen("{q:shapes-64}:drain") == 11, "the beginning and ten departures"
    # As if it had been so: the ten departures took 40 s, and after the last of them the queue stood empty for an hour.
    drain, clock, hour_ms = "{q:shapes-64}:drain", "{q:shapes-64}:clock", 3_600_000
    newest = int(client.lindex(drain, 0)) - hour_ms
    client.delete(drain)
    client.rpush(drain, *(newest - 4000 * k for k in range(11)))
    client.hset(clock, "idle_since", int(client.hget(clock, "idle_since")) - hour_ms)
    await store.submit([make_job() for _ in range(20)], predicted_s=None)
    error = await refusal(store.submit([make_job() for _ in range(5)], predicted_s=99.0))
    assert error.retry_after_s == pytest.approx(5 * 4.0, rel=0.05)


async def test_submitting_again_after_a_lost_reply_changes_nothing(store, make_job, worker):
    jobs = [make_job() for _ in range(3)]
    await store.submit(jobs, predicted_s=None)
    [claim] = worker().claim(1)
    await store.submit(jobs, predicted_s=None)
    assert await store.depth("shapes-64") == 2
    assert (await store.status(claim.job.id)).status == "running"


async def test_jobs_of_two_models_are_a_bug(store, make_job):
    with pytest.raises(ValueError, match="one model"):
        await store.submit([make_job(), make_job(model="other")], predicted_s=None)
    with pytest.raises(ValueError, match="one model"):
        await store.submit([], predicted_s=None)


async def test_queues_of_two_models_are_apart(store, make_job, worker):
    other = make_job(model="org/other")
    await store.submit([other], predicted_s=None)
    assert await store.depth("org/other") == 1
    assert await store.depth("shapes-64") == 0
    assert worker().claim(5) == []
    assert (await store.status(other.id)).plan.model == "org/other"


@pytest.mark.parametrize("job_id", ["", "x", "../../etc", "0" * 32 + "-a{b}", new_job_id("shapes-64"), "a" * 5000])
async def test_an_unknown_id_is_not_found(store, job_id):
    async def first_event():
        async for _ in store.events(job_id):
            pass

    for call in (store.status(job_id), store.cancel(job_id), store.image(job_id), first_event()):
        assert (await refusal(call)).kind is ErrorKind.job_not_found


async def test_the_image_comes_back_byte_for_byte(store, make_job, worker, timings):
    job = msgspec.structs.replace(make_job(), image_format="webp")
    await store.submit([job], predicted_s=None)
    assert (await refusal(store.image(job.id))).kind is ErrorKind.job_not_finished
    [claim] = worker().claim(1)
    assert (await refusal(store.image(job.id))).kind is ErrorKind.job_not_finished
    image = bytes(range(256)) * 100
    assert worker().finish(claim, image, timings)
    assert await store.image(job.id) == (image, "webp")
    status = await store.status(job.id)
    assert (status.status, status.step, status.timings) == ("completed", 4, timings)
    assert status.finished_ms >= claim.claimed_ms >= claim.submitted_ms == status.submitted_ms


async def test_a_failed_job_has_its_reason_for_an_image(store, make_job, worker):
    job = make_job()
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    assert worker().fail(claim, ErrorKind.not_finite, "Overflow at step 3.")
    error = await refusal(store.image(job.id))
    assert (error.kind, error.detail) == (ErrorKind.not_finite, "Overflow at step 3.")


async def test_cancel_ends_a_queued_job_and_again_changes_nothing(store, make_job, worker):
    job = make_job()
    await store.submit([job], predicted_s=None)
    assert await store.cancel(job.id) == ("cancelled", True)
    assert await store.cancel(job.id) == ("cancelled", False)
    assert await store.depth("shapes-64") == 0
    assert worker().claim(1) == []
    assert (await refusal(store.image(job.id))).kind is ErrorKind.job_cancelled
    assert [event.kind async for event in store.events(job.id)] == ["queued", "cancelled"]


async def test_of_many_cancels_at_once_one_has_ended_the_job(store, make_job):
    job = make_job()
    await store.submit([job], predicted_s=None)
    replies = await asyncio.gather(*(store.cancel(job.id) for _ in range(8)))
    assert sorted(replies) == [("cancelled", False)] * 7 + [("cancelled", True)]


async def test_cancel_leaves_an_ended_job_as_it_is(store, make_job, worker, timings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    worker().finish(claim, b"image", timings)
    assert await store.cancel(job.id) == ("completed", False)
    assert (await store.image(job.id))[0] == b"image"


async def test_an_ended_job_is_gone_after_its_time_and_not_unknown(async_client, make_job, worker, timings):
    store = JobStore(async_client, Settings(result_ttl_s=1))
    done, dropped = make_job(), make_job(deadline_s=90.0)
    await store.submit([done], predicted_s=None)
    await store.submit([dropped], predicted_s=None)
    [claim] = worker(result_ttl_s=1).claim(1)
    assert claim.job.id == done.id
    worker(result_ttl_s=1).finish(claim, b"image", timings)
    await store.cancel(dropped.id)
    await asyncio.sleep(1.2)
    for job in (done, dropped):
        for call in (store.status(job.id), store.image(job.id), store.cancel(job.id), anext(store.events(job.id))):
            assert (await refusal(call)).kind is ErrorKind.job_gone
    left = {key.rsplit(b":", 1)[0].split(b":", 2)[-1] for key in await async_client.keys("*")}
    assert not left & {b"job", b"ev", b"image"}, "nothing but the memory of it is left"


async def test_a_waiting_job_is_kept_without_a_limit_of_time(store, async_client, make_job):
    job = make_job()
    await store.submit([job], predicted_s=None)
    assert await async_client.ttl(f"{{q:shapes-64}}:job:{job.id}") == -1
    assert await async_client.ttl(f"{{q:shapes-64}}:ev:{job.id}") == -1


async def test_speed_is_the_mean_of_the_live_workers(store, worker):
    assert await store.speed("shapes-64") is None
    assert await store.live_workers("shapes-64") == 0
    for name, turn, row in (("a", 1.0, 0.1), ("b", 2.0, 0.3)):
        worker(name).beat([])
        worker(name).publish_speed(WorkerSpeed(turn, row, 0.01, 0.02))
    assert await store.live_workers("shapes-64") == 2
    assert await store.speed("shapes-64") == WorkerSpeed(1.5, pytest.approx(0.2), 0.01, 0.02)
    worker("a").retire()
    assert await store.live_workers("shapes-64") == 1
    assert await store.speed("shapes-64") == WorkerSpeed(2.0, 0.3, 0.01, 0.02)


async def test_sizes_that_one_worker_drew_count_for_the_others_by_their_pixels(store, worker):
    for name, row, sizes in (("a", 0.1, {256: 0.8}), ("b", 0.3, {}), ("c", 0.2, {16: 0.1, 256: 1.0})):
        worker(name).beat([])
        worker(name).publish_speed(WorkerSpeed(1.0, row, 0.0, 0.0, pixels=64.0, sizes=sizes))
    told = await store.speed("shapes-64")
    assert (told.pixels, told.row_seconds) == (64.0, pytest.approx(0.2))
    assert told.sizes == {256: pytest.approx((0.8 + 1.2 + 1.0) / 3), 16: pytest.approx((0.025 + 0.075 + 0.1) / 3)}


async def test_work_is_summed_in_forwards_of_the_default_size(store, worker, make_job):
    someone = worker("a")
    someone.beat([])
    someone.publish_speed(WorkerSpeed(0.0, 0.1, 0.0, 0.0, 8, pixels=64.0 * 64))
    job = make_job(steps=4, deadline_s=30.0)
    sized = msgspec.structs.replace(job.plan, sized_forwards=32)
    await store.submit([msgspec.structs.replace(job, width=128, height=128, plan=sized)], predicted_s=0.1)
    load = await store.load("shapes-64")
    assert (load.work.held, load.work.images) == (32, 1)
    [claim] = someone.claim(1)
    someone.beat([Progress(job.id, claim.fence, 1)])
    assert (await store.load("shapes-64")).work.held == 24
    shorter = msgspec.structs.replace(sized, sized_forwards=16)
    assert someone.replan(msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, plan=shorter)))
    assert (await store.load("shapes-64")).work.held == 12
    await store.cancel(job.id)
    assert (await store.load("shapes-64")).work.held == 0


async def test_the_load_is_what_is_still_to_be_made_by_when_it_is_due(store, worker, make_job):
    someone = worker("a")
    someone.beat([])
    someone.publish_speed(WorkerSpeed(0.0, 0.1, 0.0, 0.0, 8))
    soon, late, patient = make_job(steps=3, deadline_s=2.0), make_job(steps=5, deadline_s=30.0), make_job(steps=4)
    await store.submit([soon, late, patient], predicted_s=0.1)
    load = await store.load("shapes-64")
    assert load.workers == 1
    assert (load.work.forwards.tolist(), load.work.jobs.tolist()) == ([6, 16], [1, 2])
    assert load.work.longest.tolist() == [6, 10]
    assert (load.work.hoped_forwards.tolist(), load.work.hoped_jobs) == ([8], 1)
    assert load.ahead(5.0) == 6
    assert load.ahead(None) == 24
    [claim] = someone.claim(1)
    someone.beat([Progress(claim.job.id, claim.fence, 2)])
    assert claim.job.id == soon.id
    assert (await store.load("shapes-64")).ahead(5.0) == 2
    for job in (soon, late, patient):
        await store.cancel(job.id)
    idle = await store.load("shapes-64")
    assert (idle.work.held, idle.work.images, idle.ahead(None)) == (0, 0, 0)


async def test_the_store_tells_its_sums_as_the_planner_reads_them(store, worker, async_client):
    worker("a").beat([])
    worker("a").publish_speed(WorkerSpeed(0.0, 0.1, 0.0, 0.0, 8))
    now_ms = (await store.load("shapes-64")).now_ms
    at = now_ms // 100 + 50
    sums = {f"d{at + k}": 2 + k for k in range(0, 3000, 7)} | {f"n{at + k}": 1 + k % 5 for k in range(0, 3000, 14)}
    sums |= {f"b{at - 300 + k}": 9 for k in range(5)} | {f"m{at - 300}": 3, f"d{at - 200}": 77}
    await async_client.hset("{q:shapes-64}:work", mapping=sums)
    load = await store.load("shapes-64")
    expected = Work.of(sums, load.now_ms)
    for name in ("slots", "forwards", "jobs", "longest", "hoped_slots", "hoped_forwards"):
        assert getattr(load.work, name).tolist() == getattr(expected, name).tolist()
    assert load.work.hoped_jobs == expected.hoped_jobs == 3 + 4


async def test_what_comes_in_while_others_are_there_is_counted_and_fades(store, worker, make_job, redis_url):
    someone = worker("a")
    someone.beat([])
    someone.publish_speed(WorkerSpeed(0.0, 0.1, 0.0, 0.0, 8))

    async def rate(came: Inflow | None = None) -> Inflow:
        load = await store.load("shapes-64", came)
        return load.inflow

    assert await rate(Inflow(4, 4, 0)) == Inflow(0, 0, 0), "who finds nobody there shares the workers with nobody"
    await store.submit([make_job(deadline_s=9.0)], predicted_s=0.1)
    assert await rate() == Inflow(0, 0, 0)
    assert await rate(Inflow(4, 3, 50)) == pytest.approx((4, 3, 50), rel=0.01), "a rate is of a second at the least"
    assert await rate(Inflow(1, 0, 8)) == pytest.approx((5, 3, 58), rel=0.01)
    assert await rate() == pytest.approx((5, 3, 58), rel=0.01), "to look changes nothing"
    meter = InflowMeter()
    meter.note(Inflow(5, 3, 58), 0.0)
    with redis.Redis.from_url(redis_url) as client:
        for elapsed_ms in (3000, 7000):
            clock = "{q:shapes-64}:clock"
            client.hincrby(clock, "came_ms", -elapsed_ms)
            client.hincrby(clock, "came_since", -elapsed_ms)
            assert await rate() == pytest.approx(meter.note(Inflow(), elapsed_ms / 1000), rel=0.02)
            client.hincrby(clock, "came_ms", elapsed_ms)
            client.hincrby(clock, "came_since", elapsed_ms)
        client.hincrby(clock, "came_ms", -25_000)
        assert await rate(Inflow(2, 2, 0)) == pytest.approx((2, 2, 0), rel=0.01), "what came long ago is forgotten"


async def test_what_was_planned_before_others_were_promised_something_is_stale(store, worker, make_job):
    worker("a").beat([])
    worker("a").publish_speed(WorkerSpeed(0.0, 0.1, 0.0, 0.0, 8))

    async def promises() -> int:
        return (await store.load("shapes-64")).promises

    assert await promises() == 0
    first, second = make_job(deadline_s=9.0), make_job(deadline_s=9.0)
    await store.submit([first], predicted_s=0.1, promises=0)
    with pytest.raises(StaleLoadError):
        await store.submit([second], predicted_s=0.1, promises=0)
    assert await store.depth("shapes-64") == 1
    await store.submit([first], predicted_s=0.1, promises=0)  # again, after its reply was lost
    assert await promises() == 1
    await store.submit([make_job()], predicted_s=0.1)
    await store.cancel(first.id)
    assert await promises() == 1, "nothing else makes a reading stale"
    await store.submit([second, make_job(deadline_s=9.0)], predicted_s=0.1, promises=1)
    assert await promises() == 3


async def test_a_worker_that_fell_silent_is_dead(store, worker):
    silent = worker("silent", lease_s=0.05)
    silent.beat([])
    silent.publish_speed(WorkerSpeed(1.0, 1.0, 1.0, 1.0))
    await asyncio.sleep(0.1)
    assert await store.live_workers("shapes-64") == 0
    assert await store.speed("shapes-64") is None


async def test_a_store_that_is_away_is_said_so(tmp_path, make_job):
    client = connect_async(f"unix://{tmp_path}/nobody.sock")
    client.get_retry().update_retries(1)
    store = JobStore(client, Settings())
    job = make_job()
    for call in (store.ping(), store.status(job.id), store.submit([job], predicted_s=None), store.depth("m")):
        assert (await refusal(call)).kind is ErrorKind.store_unavailable
    await client.aclose()


async def test_scripts_that_the_store_forgot_are_loaded_again(store, async_client, make_job, worker):
    await store.submit([make_job()], predicted_s=None)
    await async_client.script_flush()
    await store.submit([make_job()], predicted_s=None)
    await async_client.script_flush()
    assert len(worker().claim(2)) == 2


async def test_a_client_of_either_protocol_serves(redis_url, settings, make_job):
    import redis.asyncio

    for protocol in (2, 3):
        async with redis.asyncio.Redis.from_url(redis_url, protocol=protocol) as client:
            store = JobStore(client, settings)
            job = make_job()
            await store.submit([job], predicted_s=None)
            assert (await store.status(job.id)).status == "queued"
            await store.cancel(job.id)
            assert [event.kind async for event in store.events(job.id)] == ["queued", "cancelled"]
            await store.close()
