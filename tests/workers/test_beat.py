"""The beat: leases hold as long as it goes, and what the store says comes back once."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pacer.embedded_store import EmbeddedStore
from pacer.jobs.connection import connect
from pacer.jobs.messages import Claim, Progress, WorkerSpeed
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings
from tests.workers.on_store import MODEL, call, make_job, status, submit, wait_until
from workers.beat import Beat

SPEED = WorkerSpeed(turn_seconds=0.1, row_seconds=0.01, encode_seconds=0.2, decode_seconds=0.3)


def queue_of(settings: Settings, name: str = "w") -> WorkerQueue:
    return WorkerQueue(connect(str(settings.redis_url)), settings, MODEL, name)


class Hands:
    """What a worker holds, and how far it is."""

    def __init__(self, claims: Sequence[Claim] = ()) -> None:
        self.steps = {claim.job.id: (claim, 0) for claim in claims}

    def progress(self) -> list[Progress]:
        return [Progress(job_id, claim.fence, step) for job_id, (claim, step) in self.steps.items()]


def test_a_beat_tells_steps_and_speed(settings: Settings) -> None:
    job = make_job(6)
    submit(settings, [job])
    queue = queue_of(settings)
    hands = Hands(queue.claim(1))
    measured: list[WorkerSpeed | None] = [None, SPEED]
    beat = Beat(queue, 60.0, hands.progress, lambda: measured.pop(0))
    beat.once()
    assert call(settings, lambda store: store.speed(MODEL)) is None
    hands.steps[job.id] = (hands.steps[job.id][0], 4)
    beat.once()
    assert status(settings, job).step == 4
    assert call(settings, lambda store: store.speed(MODEL)) == SPEED
    assert beat.take_lost() == {}


def test_what_is_lost_is_told_once_by_id_and_fence(settings: Settings) -> None:
    jobs = [make_job(6, seed=n) for n in range(3)]
    submit(settings, jobs)
    queue = queue_of(settings)
    claims = queue.claim(3)
    kept, cancelled, taken = claims
    call(settings, lambda store: store.cancel(cancelled.job.id))
    queue.abandon([taken])
    beat = Beat(queue, 60.0, Hands(claims).progress, lambda: None)
    beat.once()
    beat.once()
    assert beat.take_lost() == {
        (cancelled.job.id, cancelled.fence): "cancelled",
        (taken.job.id, taken.fence): "fenced",
    }
    assert beat.take_lost() == {}
    assert status(settings, kept.job).status == "running"


def test_a_lease_holds_while_the_thread_beats_and_ends_after_it(settings: Settings) -> None:
    short = settings.model_copy(update={"lease_s": 0.8})
    submit(settings, [make_job()])
    queue, heir = queue_of(short), queue_of(short, "heir")
    beat = Beat(queue, 0.1, Hands(queue.claim(1)).progress, lambda: None)
    beat.start()
    try:
        end = time.monotonic() + 2 * short.lease_s
        while time.monotonic() < end:
            assert heir.claim(1) == []
            time.sleep(0.1)
    finally:
        beat.stop()
    assert not beat.is_alive()
    wait_until(lambda: len(heir.claim(1)) == 1, timeout_s=10)


def test_a_beat_that_fails_is_not_the_last(settings: Settings) -> None:
    calls: list[int] = []

    def progress() -> list[Progress]:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("a bug")
        return []

    beat = Beat(queue_of(settings), 0.05, progress, lambda: None)
    beat.start()
    try:
        wait_until(lambda: len(calls) >= 3, timeout_s=10)
    finally:
        beat.stop()
    assert call(settings, lambda store: store.live_workers(MODEL)) == 1


def test_a_store_that_was_away_hears_the_next_beat(tmp_path: Path, settings: Settings) -> None:
    with EmbeddedStore(tmp_path, fsync="no") as store:
        own = settings.model_copy(update={"redis_url": store.url})
        beat = Beat(queue_of(own), 0.05, list, lambda: None)
        beat.start()
        try:
            wait_until(lambda: call(own, lambda store: store.live_workers(MODEL)) == 1, timeout_s=10)
            assert store.pid is not None
            os.kill(store.pid, signal.SIGKILL)
            wait_until(lambda: not store.alive, timeout_s=10)
            time.sleep(0.3)
            store.start()
            with connect(store.url) as client:
                client.flushall()
            wait_until(lambda: call(own, lambda store: store.live_workers(MODEL)) == 1, timeout_s=20)
        finally:
            beat.stop()


def test_new_steps_are_told_long_before_the_next_beat_is_due_and_nothing_else(settings: Settings) -> None:
    """All that this thread does the compute loop waits for."""
    job = make_job(6)
    submit(settings, [job])
    queue = queue_of(settings)
    hands = Hands(queue.claim(1))
    others: list[str] = []

    def speed() -> None:
        others.append("speed")

    beat = Beat(queue, 60.0, hands.progress, speed, lambda: others.append("after"))
    beat.start()
    try:
        for step in (2, 5):
            hands.steps[job.id] = (hands.steps[job.id][0], step)
            wait_until(lambda: status(settings, job).step == step, 5)  # noqa: B023 -- called in this very turn
    finally:
        beat.stop()
    assert others == ["speed", "after"]
