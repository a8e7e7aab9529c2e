"""Many threads, many deaths, one delivery each."""

import asyncio
import random
import threading
import time
from collections import Counter

import pytest

from pacer.errors import PacerError
from pacer.jobs.connection import connect
from pacer.jobs.messages import TERMINAL, Progress
from pacer.jobs.store import JobStore
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

JOBS = 150
SETTINGS = Settings(lease_s=0.08, max_attempts=200, queue_limit=JOBS)


class Crowd:
    """Threads that claim, beat, finish, die with jobs in hand, come back as zombies, and leave politely."""

    def __init__(self, url, timings):
        self.url, self.timings = url, timings
        self.delivered, self.failures = Counter(), []
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def work(self, number):
        try:
            with connect(self.url) as client:
                self.loop(client, random.Random(number), number)
        except Exception as error:  # noqa: BLE001 - a thread's failure must reach the test
            self.failures.append(error)

    def loop(self, client, dice, number):
        life, zombies = 0, []
        queue = WorkerQueue(client, SETTINGS, "shapes-64", f"{number}.{life}")
        while not self.stop.is_set():
            claims = queue.claim(dice.randint(1, 6))
            if not claims:
                queue.wait(0.02)
            held = {claim.job.id: claim for claim in claims}
            if held and dice.random() < 0.7:
                verdicts = queue.beat([Progress(c.job.id, c.fence, dice.randint(1, 3)) for c in claims])
                held = {job_id: claim for job_id, claim in held.items() if verdicts[job_id] == "ok"}
            fate = dice.random()
            if fate < 0.25:
                zombies += held.values()
                life += 1
                queue = WorkerQueue(client, SETTINGS, "shapes-64", f"{number}.{life}")
            elif fate < 0.35:
                queue.release(list(held.values()))
            else:
                if fate < 0.45:
                    time.sleep(0.1)  # longer than the lease
                self.finish(queue, held.values())
            if zombies and dice.random() < 0.3:
                self.finish(queue, [zombies.pop(dice.randrange(len(zombies)))])

    def finish(self, queue, claims):
        for claim in claims:
            if queue.finish(claim, f"{claim.job.id} {claim.fence}".encode(), self.timings):
                with self.lock:
                    self.delivered[claim.job.id] += 1


async def test_every_job_is_delivered_exactly_once(redis_url, async_client, make_job, timings):
    store = JobStore(async_client, SETTINGS)
    jobs = [make_job() for _ in range(JOBS)]
    crowd = Crowd(redis_url, timings)
    threads = [threading.Thread(target=crowd.work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for first in range(0, JOBS, 10):
        await store.submit(jobs[first : first + 10], predicted_s=None)
        await asyncio.sleep(0.005)
    cancelled = set()
    for job in random.Random(7).sample(jobs, 20):
        _, ended_now = await store.cancel(job.id)
        if ended_now:
            cancelled.add(job.id)
    left, end = {job.id for job in jobs}, time.monotonic() + 30
    while left and time.monotonic() < end and not crowd.failures:
        left = {job_id for job_id in left if (await store.status(job_id)).status not in TERMINAL}
        await asyncio.sleep(0.05)
    crowd.stop.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert not crowd.failures
    assert not left
    requeues = 0
    for job in jobs:
        kinds = [event.kind async for event in store.events(job.id)]
        requeues += kinds.count("requeued")
        expected = "cancelled" if job.id in cancelled else "completed"
        assert [kind for kind in kinds if kind in TERMINAL] == [expected]
        assert crowd.delivered[job.id] == (expected == "completed")
        if expected == "completed":
            image, _ = await store.image(job.id)
            assert image.decode().startswith(job.id)
        else:
            with pytest.raises(PacerError):
                await store.image(job.id)
    assert requeues > 20, "the crowd was too tame to test anything"
    await store.close()
