import asyncio

import pytest

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import connect_async
from pacer.jobs.events import parse_position
from pacer.jobs.messages import Progress
from pacer.jobs.store import JobStore


async def collect(store, job_id, after="0-0"):
    return [event async for event in store.events(job_id, after)]


async def drive(queue, steps=4, pause_s=0.01, timings=None):
    """Do every waiting job, one after the other."""
    while claims := await asyncio.to_thread(queue.claim, 1):
        for step in range(1, steps):
            await asyncio.to_thread(queue.beat, [Progress(claims[0].job.id, claims[0].fence, step)])
            await asyncio.sleep(pause_s)
        await asyncio.to_thread(queue.finish, claims[0], b"image", timings)


async def test_events_tell_the_whole_life(store, make_job, worker, timings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    follower = asyncio.create_task(collect(store, job.id))
    await drive(worker(), timings=timings)
    events = await asyncio.wait_for(follower, 5)
    assert [(event.kind, event.step) for event in events] == [
        ("queued", 0),
        ("started", 0),
        ("step", 1),
        ("step", 2),
        ("step", 3),
        ("completed", 4),
    ]
    assert {event.total for event in events} == {4}
    assert await collect(store, job.id) == events, "and again afterwards"


async def test_events_go_on_after_any_of_them(store, make_job, worker, timings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    await drive(worker(), timings=timings)
    events = await collect(store, job.id)
    for k, event in enumerate(events):
        assert await asyncio.wait_for(collect(store, job.id, event.id), 5) == events[k + 1 :]


async def test_the_reason_of_a_failure_is_in_the_event(store, make_job, worker):
    job = make_job()
    await store.submit([job], predicted_s=None)
    [claim] = worker().claim(1)
    worker().fail(claim, ErrorKind.not_finite, "Overflow.")
    events = await collect(store, job.id)
    assert (events[-1].kind, events[-1].detail, events[0].detail) == ("failed", "Overflow.", None)


async def most_blocked(client):
    """The most connections seen waiting in a blocking command, from when the first one does."""
    seen = []
    while len(seen) < 10:
        await asyncio.sleep(0.05)
        blocked = sum("b" in connection["flags"] for connection in await client.client_list())
        seen += [blocked] if blocked or seen else []
    return max(seen)


async def test_many_followers_share_one_blocked_connection(redis_url, settings, make_job, worker, timings):
    async with connect_async(redis_url) as client:
        store = JobStore(client, settings)
        jobs = [make_job() for _ in range(10)]
        await store.submit(jobs, predicted_s=None)
        followers = [asyncio.create_task(collect(store, job.id)) for job in jobs for _ in range(30)]
        assert await most_blocked(client) == 1
        await drive(worker(), pause_s=0.0, timings=timings)
        lives = await asyncio.wait_for(asyncio.gather(*followers), 10)
        assert {tuple(event.kind for event in life) for life in lives} == {
            ("queued", "started", "step", "step", "step", "completed")
        }
        await store.close()


async def test_followers_who_come_at_any_time_miss_nothing_and_see_nothing_twice(store, make_job, worker, timings):
    jobs = [make_job() for _ in range(6)]
    await store.submit(jobs, predicted_s=None)
    work = asyncio.create_task(drive(worker(), pause_s=0.005, timings=timings))
    followers = []
    for k in range(60):
        followers.append(asyncio.create_task(collect(store, jobs[k % 6].id)))
        await asyncio.sleep(0.003)
    await work
    lives = await asyncio.wait_for(asyncio.gather(*followers), 10)
    for k, life in enumerate(lives):
        assert life == lives[k % 6]
        assert len({event.id for event in life}) == len(life) == 6


async def test_a_newcomer_is_served_at_once_while_the_reader_waits(store, make_job):
    quiet, new = make_job(), make_job()
    await store.submit([quiet, new], predicted_s=None)
    following = asyncio.create_task(collect(store, quiet.id))
    await asyncio.sleep(0.2)
    start = asyncio.get_running_loop().time()
    events = store.events(new.id)
    assert (await anext(events)).kind == "queued"
    assert asyncio.get_running_loop().time() - start < 0.5
    await events.aclose()
    following.cancel()


async def test_the_reader_rests_when_nobody_follows(store, make_job, async_client):
    job = make_job()
    await store.submit([job], predicted_s=None)
    events = store.events(job.id)
    await anext(events)
    await events.aclose()
    [feed] = store._feeds.values()
    await asyncio.wait_for(feed._task, 4)
    assert not feed._followers
    await store.cancel(job.id)
    assert [event.kind for event in await collect(store, job.id)] == ["queued", "cancelled"]


async def test_followers_hear_of_a_store_that_went_away(make_job, tmp_path, settings):
    from pacer.embedded_store import EmbeddedStore

    with EmbeddedStore(tmp_path / "data") as server:
        async with connect_async(server.url) as client:
            client.get_retry().update_retries(1)
            store = JobStore(client, settings)
            job = make_job()
            await store.submit([job], predicted_s=None)
            follower = asyncio.create_task(collect(store, job.id))
            await asyncio.sleep(0.2)
            server.stop()
            with pytest.raises(PacerError) as caught:
                await asyncio.wait_for(follower, 10)
            assert caught.value.kind is ErrorKind.store_unavailable


async def test_followers_can_be_cancelled_at_any_moment(redis_url, settings, make_job):
    for pause_s in (0.0, 0.003, 0.01, 0.03, 0.1):
        async with connect_async(redis_url) as client:
            store, job = JobStore(client, settings), make_job()
            await store.submit([job], predicted_s=None)
            followers = [asyncio.create_task(collect(store, job.id)) for _ in range(100)]
            await asyncio.sleep(pause_s)
            for follower in followers:
                follower.cancel()
            _, stuck = await asyncio.wait(followers, timeout=10)
            assert not stuck
            await asyncio.wait_for(store.close(), 5)
            await store.cancel(job.id)


async def test_closing_the_store_ends_its_followers(store, make_job):
    job = make_job()
    await store.submit([job], predicted_s=None)
    follower = asyncio.create_task(collect(store, job.id))
    await asyncio.sleep(0.1)
    await store.close()
    with pytest.raises(PacerError):
        await asyncio.wait_for(follower, 5)


@pytest.mark.parametrize("text", ["", "x", "1-2-3", "-1", "1-", "9" * 30, "1700000000000-0\n", "\u0661-\u0660"])
async def test_a_bad_last_event_id_is_refused(store, make_job, text):
    job = make_job()
    await store.submit([job], predicted_s=None)
    with pytest.raises(PacerError) as caught:
        await collect(store, job.id, text)
    assert caught.value.kind is ErrorKind.invalid_request
    assert caught.value.field == "Last-Event-ID"


async def test_an_id_beyond_the_streams_end_hides_nothing(store, make_job):
    job = make_job()
    await store.submit([job], predicted_s=None)
    follower = asyncio.create_task(collect(store, job.id, "9999999999999-0"))
    await asyncio.sleep(0.1)
    await store.cancel(job.id)
    events = await asyncio.wait_for(follower, 5)
    assert [event.kind for event in events] == ["cancelled"]


def test_a_position_is_milliseconds_and_sequence():
    assert parse_position("1700000000000-3") == (1_700_000_000_000, 3)
    assert parse_position("5") == (5, 0)
