import asyncio
import threading
import time

import msgspec
import pytest
from redis.exceptions import ConnectionError as StoreConnectionError

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import connect
from pacer.jobs.messages import Progress, WorkerSpeed
from pacer.jobs.store import StaleLoadError
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings


def progress(claim, step):
    return Progress(claim.job.id, claim.fence, step)


async def kinds(store, job_id):
    return [event.kind async for event in store.events(job_id)]


async def test_a_claim_is_exclusive_and_bounded(store, make_job, worker):
    await store.submit([make_job() for _ in range(5)], predicted_s=None)
    first, second = worker("a").claim(3), worker("b").claim(3)
    assert (len(first), len(second)) == (3, 2)
    assert not {claim.job.id for claim in first} & {claim.job.id for claim in second}
    assert {claim.attempt for claim in first + second} == {1}
    assert worker("a").claim(0) == []
    assert (await store.status(first[0].job.id)).status == "running"
    assert await store.depth("shapes-64") == 0


async def test_a_beat_extends_the_lease_and_notes_the_step(store, make_job, worker, client):
    job = make_job()
    await store.submit([job], predicted_s=None)
    short, long = worker("w", lease_s=0.2), worker("w", lease_s=30.0)
    [claim] = short.claim(1)
    assert long.beat([progress(claim, 2)]) == {job.id: "ok"}
    await asyncio.sleep(0.25)
    assert worker("other").claim(1) == []
    status = await store.status(job.id)
    assert (status.status, status.step) == ("running", 2)
    assert long.beat([progress(claim, 1)]) == {job.id: "ok"}
    assert (await store.status(job.id)).step == 2, "a late beat does not take steps back"


async def test_a_beat_answers_for_each_job(store, make_job, worker, timings, lapse):
    jobs = [make_job() for _ in range(4)]
    await store.submit(jobs, predicted_s=None)
    claims = worker().claim(4)
    await store.cancel(jobs[1].id)
    lapse(jobs[2].id)
    assert len(worker("other").claim(1)) == 1
    worker().finish(claims[3], b"image", timings)
    unknown = Progress(make_job().id, 1, 1)
    assert worker().beat([*(progress(claim, 1) for claim in claims), unknown]) == {
        jobs[0].id: "ok",
        jobs[1].id: "cancelled",
        jobs[2].id: "fenced",
        jobs[3].id: "ok",
        unknown.id: "fenced",
    }
    assert worker().beat([]) == {}


async def test_a_lost_job_goes_to_another_worker_and_the_zombie_is_fenced_out(store, make_job, worker, lapse, timings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    zombie, heir = worker("zombie"), worker("heir")
    [lost] = zombie.claim(1)
    zombie.beat([progress(lost, 3)])
    lapse(job.id)
    [taken] = heir.claim(1)
    assert taken.job == job
    assert taken.attempt == 2
    assert taken.fence > lost.fence
    assert (await store.status(job.id)).step == 0, "it is drawn from the start"
    assert zombie.beat([progress(lost, 4)]) == {job.id: "fenced"}
    assert not zombie.finish(lost, b"late", timings)
    assert not zombie.fail(lost, ErrorKind.internal, "late")
    zombie.release([lost])
    assert (await store.status(job.id)).status == "running"
    assert heir.finish(taken, b"image", timings)
    assert not zombie.finish(lost, b"late", timings)
    assert (await store.image(job.id))[0] == b"image"
    assert await kinds(store, job.id) == ["queued", "started", "step", "requeued", "started", "completed"]


async def test_a_lease_runs_out_by_the_stores_clock(store, make_job, worker):
    job = make_job()
    await store.submit([job], predicted_s=None)
    worker("dead", lease_s=0.1).claim(1)
    assert worker("heir").claim(1) == []
    await asyncio.sleep(0.15)
    [taken] = worker("heir").claim(1)
    assert (taken.job.id, taken.attempt) == (job.id, 2)


async def test_a_worker_that_comes_back_in_time_keeps_its_job(store, make_job, worker, lapse, timings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    lapse(job.id)
    assert worker().beat([progress(claim, 1)]) == {job.id: "ok"}
    assert worker("other").claim(1) == []
    assert worker().finish(claim, b"image", timings)


async def test_a_job_whose_attempts_are_used_up_fails(store, make_job, client, settings, lapse, timings):
    job, ended = make_job(), []
    await store.submit([job], predicted_s=None)
    queue = WorkerQueue(client, settings, "shapes-64", "w", on_ended=lambda state, count: ended.append((state, count)))
    for attempt in (1, 2, 3):
        [claim] = queue.claim(1)
        assert claim.attempt == attempt
        lapse(job.id)
    assert queue.claim(1) == []
    assert ended == [("failed", 1)]
    status = await store.status(job.id)
    assert (status.status, status.error_kind) == ("failed", "worker_failed")
    assert "3 attempts" in status.error_detail
    with pytest.raises(PacerError) as caught:
        await store.image(job.id)
    assert caught.value.kind is ErrorKind.worker_failed
    assert not queue.finish(claim, b"late", timings)
    assert not queue.fail(claim, ErrorKind.internal, "late")
    assert (await kinds(store, job.id))[-1] == "failed"


async def test_a_requeued_job_stands_where_it_stood(store, make_job, worker, lapse):
    first, second = make_job(), make_job()
    await store.submit([first], predicted_s=None)
    await store.submit([second], predicted_s=None)
    worker("dead").claim(1)
    lapse(first.id)
    assert [claim.job.id for claim in worker("heir").claim(2)] == [first.id, second.id]


async def test_released_jobs_go_back_uncharged(store, make_job, worker, timings):
    jobs = [make_job() for _ in range(3)]
    await store.submit(jobs, predicted_s=None)
    leaving = worker("leaving")
    claims = leaving.claim(2)
    leaving.release(claims)
    leaving.release(claims)
    leaving.release([])
    assert await store.depth("shapes-64") == 3
    assert not leaving.finish(claims[0], b"late", timings)
    again = worker("next").claim(3)
    assert [claim.job.id for claim in again] == [job.id for job in jobs]
    assert [claim.attempt for claim in again] == [1, 1, 1]
    assert again[0].fence > claims[0].fence


async def test_a_released_job_is_no_longer_the_workers_even_when_cancelled(store, make_job, worker):
    job = make_job()
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    worker().release([claim])
    await store.cancel(job.id)
    assert worker().beat([progress(claim, 1)]) == {job.id: "fenced"}


async def test_a_released_job_rings_the_bell(store, make_job, worker, redis_url, settings):
    await store.submit([make_job()], predicted_s=None)
    claims = worker("leaving").claim(1)

    def wait():
        with connect(redis_url) as client:
            start = time.monotonic()
            return WorkerQueue(client, settings, "shapes-64", "next").wait(1.5), time.monotonic() - start

    waiting = asyncio.create_task(asyncio.to_thread(wait))
    await asyncio.sleep(0.2)
    worker("leaving").release(claims)
    rang, seconds = await waiting
    assert rang
    assert seconds < 1.0


async def test_an_abandoned_job_goes_to_another_worker_at_once_and_stays_charged(store, make_job, worker, timings):
    jobs = [make_job(), make_job()]
    await store.submit(jobs, predicted_s=None)
    dying, heir = worker("dying", max_attempts=2), worker("heir", max_attempts=2)
    claims = dying.claim(2)
    dying.abandon(claims[:1])
    assert dying.beat([progress(claim, 1) for claim in claims]) == {jobs[0].id: "fenced", jobs[1].id: "ok"}
    assert not dying.finish(claims[0], b"late", timings)
    [taken] = heir.claim(2)
    assert (taken.job.id, taken.attempt) == (jobs[0].id, 2)
    assert taken.fence > claims[0].fence
    dying.abandon(claims[:1])
    assert heir.beat([progress(taken, 1)]) == {jobs[0].id: "ok"}, "it is no longer the first worker's to let go"


async def test_a_job_that_is_abandoned_at_its_last_attempt_fails(store, make_job, worker):
    job = make_job()
    await store.submit([job], predicted_s=None)
    only = worker("w", max_attempts=2)
    for _ in range(2):
        only.abandon(only.claim(1))
    assert only.claim(1) == []
    status = await store.status(job.id)
    assert (status.status, status.error_kind, status.attempt) == ("failed", "worker_failed", 2)


async def test_an_abandoned_job_rings_the_bell(store, make_job, worker):
    await store.submit([make_job()], predicted_s=None)
    claims = worker("dying").claim(1)
    worker("dying").abandon(claims)
    start = time.monotonic()
    assert worker("next").wait(1.5)
    assert time.monotonic() - start < 1.0


async def test_taken_work_leaves_no_false_alarm(store, make_job, worker):
    await store.submit([make_job() for _ in range(5)], predicted_s=None)
    worker().claim(5)
    assert not worker().wait(0.1)


async def test_what_is_past_its_deadline_is_not_handed_out(store, make_job, client, settings):
    late, fine = make_job(deadline_s=0.05), make_job(deadline_s=30.0)
    ended = []
    await store.submit([late], predicted_s=None)
    await store.submit([fine], predicted_s=None)
    await asyncio.sleep(0.08)
    queue = WorkerQueue(client, settings, "shapes-64", "w", on_ended=lambda state, count: ended.append((state, count)))
    assert [claim.job.id for claim in queue.claim(1)] == [fine.id]
    assert ended == [("expired", 1)]
    status = await store.status(late.id)
    assert (status.status, status.error_kind) == ("expired", "deadline_passed")
    with pytest.raises(PacerError) as caught:
        await store.image(late.id)
    assert caught.value.kind is ErrorKind.deadline_passed
    assert await kinds(store, late.id) == ["queued", "expired"]


async def test_a_cancelled_running_job_is_dropped(store, make_job, worker, timings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    assert await store.cancel(job.id) == ("cancelled", True)
    assert worker().beat([progress(claim, 1)]) == {job.id: "cancelled"}
    assert not worker().finish(claim, b"late", timings)
    worker().release([claim])
    assert worker("other").claim(1) == []
    assert await kinds(store, job.id) == ["queued", "started", "cancelled"]


async def test_finishing_again_after_a_lost_reply_is_no_second_delivery(store, make_job, worker, timings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    assert worker().finish(claim, b"image", timings)
    assert worker().finish(claim, b"image", timings)
    assert not worker().fail(claim, ErrorKind.internal, "no")
    assert await kinds(store, job.id) == ["queued", "started", "completed"]


async def test_an_unreadable_job_fails_alone(store, make_job, worker, client):
    broken, fine = make_job(), make_job()
    await store.submit([broken, fine], predicted_s=None)
    client.hset(f"{{q:shapes-64}}:job:{broken.id}", "spec", msgspec.msgpack.encode({"id": broken.id, "new": 1}))
    assert [claim.job.id for claim in worker().claim(2)] == [fine.id]
    status = await store.status(broken.id)
    assert (status.status, status.error_kind) == ("failed", "internal")


async def test_wait_wakes_for_each_new_job(store, make_job, worker, redis_url, settings):
    woken = []

    def wait(name):
        with connect(redis_url) as client:
            queue = WorkerQueue(client, settings, "shapes-64", name)
            start = time.monotonic()
            woken.append((queue.wait(1.5), time.monotonic() - start, len(queue.claim(1))))

    threads = [threading.Thread(target=wait, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    await asyncio.sleep(0.2)
    await store.submit([make_job(), make_job()], predicted_s=None)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert [(rang, claimed) for rang, _, claimed in woken] == [(True, 1), (True, 1)]
    assert max(seconds for _, seconds, _ in woken) < 1.0


async def test_wait_ends_without_work(worker):
    start = time.monotonic()
    assert not worker().wait(0.1)
    assert 0.05 < time.monotonic() - start < 1.0


async def test_wait_does_not_sleep_over_work_that_is_there(store, make_job, worker, client):
    await store.submit([make_job()], predicted_s=None)
    client.delete("{q:shapes-64}:bell")
    start = time.monotonic()
    assert worker().wait(2.0)
    assert time.monotonic() - start < 0.5


def test_a_store_that_is_away_is_said_so(tmp_path):
    with connect(f"unix://{tmp_path}/nobody.sock") as client:
        client.get_retry().update_retries(1)
        queue = WorkerQueue(client, Settings(), "shapes-64", "w")
        for call in (lambda: queue.claim(1), lambda: queue.beat([]), lambda: queue.wait(0.1), queue.retire):
            with pytest.raises(PacerError) as caught:
                call()
            assert caught.value.kind is ErrorKind.store_unavailable
            assert isinstance(caught.value.__cause__, StoreConnectionError)


def replanned(claim, make_job, *, steps, done):
    other = make_job(steps=steps)
    plan = msgspec.structs.replace(other.plan, replanned=(claim.job.plan.steps, done))
    job = msgspec.structs.replace(claim.job, plan=plan, table=other.table)
    return msgspec.structs.replace(claim, job=job)


async def left(store):
    load = await store.load("shapes-64")
    return load.work.held


async def test_a_job_goes_on_by_another_plan(store, make_job, worker, timings):
    job = make_job(steps=4, deadline_s=5.0)
    await store.submit([job], predicted_s=None)
    queue = worker()
    queue.publish_speed(WorkerSpeed(0.0, 0.1, 0.0, 0.0, 8))
    [claim] = queue.claim(1)
    queue.beat([progress(claim, 1)])
    assert await left(store) == 6
    longer = replanned(claim, make_job, steps=10, done=1)
    assert queue.replan(longer)
    assert await left(store) == 18, "the sum of what is to be made goes along"
    status = await store.status(job.id)
    assert (status.step, status.total, status.plan) == (1, 10, longer.job.plan)
    queue.beat([progress(longer, 5)])
    assert await left(store) == 10
    assert queue.finish(longer, b"image", timings)
    assert (await store.status(job.id)).plan.replanned == (4, 1)
    assert await left(store) == 0


async def test_more_work_of_a_promise_makes_readings_stale(store, make_job, worker):
    queue = worker()
    queue.publish_speed(WorkerSpeed(0.0, 0.1, 0.0, 0.0, 8))
    await store.submit([make_job(steps=4, deadline_s=9.0)], predicted_s=None)
    [claim] = queue.claim(1)

    async def is_stale_after(change):
        read = (await store.load("shapes-64")).promises
        change()
        return (await store.load("shapes-64")).promises > read

    longer, shorter = (replanned(claim, make_job, steps=steps, done=0) for steps in (10, 5))
    read = (await store.load("shapes-64")).promises
    assert queue.replan(longer)
    with pytest.raises(StaleLoadError):
        await store.submit([make_job(deadline_s=9.0)], predicted_s=None, promises=read)
    assert not await is_stale_after(lambda: queue.replan(longer)), "the same call again"
    assert not await is_stale_after(lambda: queue.replan(shorter))
    assert not await is_stale_after(lambda: queue.beat([progress(claim, 3)]))
    assert await is_stale_after(lambda: queue.release([claim])), "three of its steps are to be made again"
    await store.submit([make_job()], predicted_s=None)
    [patient] = [each for each in queue.claim(2) if each.job.deadline_s is None]
    queue.beat([progress(patient, 3)])
    assert not await is_stale_after(lambda: queue.release([patient])), "nothing was promised to it"


async def test_who_draws_it_again_draws_what_was_planned_last(store, make_job, worker, lapse):
    job = make_job(steps=4)
    await store.submit([job], predicted_s=None)
    [claim] = worker("dies").claim(1)
    longer = replanned(claim, make_job, steps=10, done=1)
    assert worker("dies").replan(longer)
    lapse(job.id)
    [again] = worker("heir").claim(1)
    assert again.job == longer.job
    assert not worker("dies").replan(claim), "who is fenced out plans nothing"
    assert (await store.status(job.id)).plan == longer.job.plan


async def test_an_image_is_told_with_the_plan_it_was_drawn_by(store, make_job, worker, timings):
    job = make_job(steps=4)
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    longer = replanned(claim, make_job, steps=10, done=1)
    assert worker().finish(longer, b"image", timings)
    assert not worker().replan(longer), "it has ended"
    status = await store.status(job.id)
    assert (status.plan, status.step, status.total) == (longer.job.plan, 10, 10)
