"""A queue that outlives its store's process."""

import asyncio
import os
import signal
import time

import pytest

from pacer.embedded_store import EmbeddedStore
from pacer.jobs.connection import connect, connect_async
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue


def kill(server):
    os.kill(server.pid, signal.SIGKILL)
    while server.alive:
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_jobs_leases_and_images_survive(tmp_path, make_job, timings, settings, how):
    done, running, waiting = make_job(), make_job(), make_job()
    with EmbeddedStore(tmp_path / "data", fsync="always") as server:
        with connect(server.url) as client:
            async with connect_async(server.url) as async_client:
                await JobStore(async_client, settings).submit([done, running, waiting], predicted_s=None)
            queue = WorkerQueue(client, settings, "shapes-64", "w")
            finished, held = queue.claim(2)
            queue.finish(finished, b"image", timings)
            if how == "killed":
                kill(server)
            else:
                server.stop()
        server.start()
        with connect(server.url) as client:
            queue = WorkerQueue(client, settings, "shapes-64", "w")
            async with connect_async(server.url) as async_client:
                store = JobStore(async_client, settings)
                assert await store.image(done.id) == (b"image", "png")
                assert [claim.job.id for claim in queue.claim(2)] == [waiting.id]
                assert queue.finish(held, b"late but held", timings)
                assert (await store.image(running.id))[0] == b"late but held"
                assert [event.kind async for event in store.events(running.id)] == ["queued", "started", "completed"]
                await store.close()


async def test_a_worker_goes_on_over_a_restart_of_the_store(tmp_path, make_job, timings, settings):
    with EmbeddedStore(tmp_path / "data", fsync="always") as server, connect(server.url) as client:
        async with connect_async(server.url) as async_client:
            store = JobStore(async_client, settings)
            queue = WorkerQueue(client, settings, "shapes-64", "w")
            await store.submit([make_job()], predicted_s=None)
            [claim] = queue.claim(1)
            kill(server)
            server.start()
            assert queue.finish(claim, b"image", timings), "the script is loaded again by itself"
            await store.submit([make_job()], predicted_s=None)
            assert len(queue.claim(1)) == 1


async def test_a_claim_that_the_store_forgot_is_fenced_out(store, client, make_job, timings, settings):
    job = make_job()
    await store.submit([job], predicted_s=None)
    queue = WorkerQueue(client, settings, "shapes-64", "w")
    saved = {key: client.dump(key) for key in client.keys("*")}
    [forgotten] = queue.claim(1)
    client.flushall()
    for key, value in saved.items():
        client.restore(key, 0, value)
    await asyncio.sleep(0.005)  # no store restarts faster
    [taken] = queue.claim(1)
    assert taken.fence > forgotten.fence
    assert not queue.finish(forgotten, b"of the forgotten claim", timings)
    assert queue.finish(taken, b"image", timings)
