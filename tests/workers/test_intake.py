"""The intake: never more than there is room for, told at once, over when told to stop."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pacer.control.express import Express
from pacer.jobs.connection import connect
from pacer.jobs.messages import Claim
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings
from tests.workers.on_store import MODEL, call, make_job, status, submit, wait_until
from workers.intake import Intake


@pytest.fixture
def queue(settings: Settings) -> WorkerQueue:
    # No lease is to end by itself here.
    return WorkerQueue(connect(str(settings.redis_url)), settings.model_copy(update={"lease_s": 300.0}), MODEL, "w")


@contextmanager
def running(queue: WorkerQueue, slots: int, on_claim: Callable[[Claim], None] = lambda _: None) -> Iterator[Intake]:
    intake = Intake(queue, slots, on_claim)
    intake.start()
    try:
        yield intake
    finally:
        intake.stop()
        assert not intake.is_alive()


def gather(intake: Intake, count: int, timeout_s: float = 10.0) -> list[Claim]:
    taken: list[Claim] = []
    end = time.monotonic() + timeout_s
    while len(taken) < count and time.monotonic() < end:
        taken += intake.take(0.1)
    return taken


def depth(settings: Settings) -> object:
    return call(settings, lambda store: store.depth(MODEL))


def test_no_more_is_claimed_than_there_is_room_for(settings: Settings, queue: WorkerQueue) -> None:
    jobs = [make_job(seed=n) for n in range(7)]
    submit(settings, jobs)
    with running(queue, 3) as intake:
        first = gather(intake, 3)
        assert [claim.job.id for claim in first] == [job.id for job in jobs[:3]]
        assert intake.take(0.7) == [], "there is no room, although jobs wait"
        assert depth(settings) == 4
        intake.make_room(2)
        assert [claim.job.id for claim in gather(intake, 2)] == [job.id for job in jobs[3:5]]
        assert intake.take(0.7) == []
        assert depth(settings) == 2


def test_room_that_found_no_job_is_not_lost(settings: Settings, queue: WorkerQueue) -> None:
    with running(queue, 4) as intake:
        assert intake.take(0.7) == []
        for seed in range(2):
            submit(settings, [make_job(seed=seed)])
            assert len(gather(intake, 1)) == 1
        submit(settings, [make_job(seed=n) for n in range(4)])
        assert len(gather(intake, 2)) == 2
        assert intake.take(0.7) == []


def test_a_job_that_comes_later_is_there_soon(settings: Settings, queue: WorkerQueue) -> None:
    with running(queue, 2) as intake:
        assert intake.take(0) == []
        timer = threading.Timer(0.2, submit, (settings, [make_job()]))
        timer.start()
        claims = intake.take(10.0)
        timer.join()
    assert len(claims) == 1


def test_a_claim_is_told_before_it_is_handed_over(settings: Settings, queue: WorkerQueue) -> None:
    told: list[str] = []
    jobs = [make_job(seed=n) for n in range(3)]
    submit(settings, jobs)
    with running(queue, 3, lambda claim: told.append(claim.job.id)) as intake:
        for claim in gather(intake, 3):
            assert claim.job.id in told
    assert told == [job.id for job in jobs]


def test_after_a_stop_nothing_is_claimed_and_what_was_waits_to_be_taken(settings: Settings, queue: WorkerQueue) -> None:
    jobs = [make_job(seed=n) for n in range(2)]
    submit(settings, jobs)
    with running(queue, 4) as intake:
        wait_until(lambda: all(status(settings, job).status == "running" for job in jobs), timeout_s=10)
    late = make_job(seed=9)
    submit(settings, [late])
    time.sleep(0.3)
    assert {claim.job.id for claim in intake.take(0)} == {job.id for job in jobs}
    assert status(settings, late).status == "queued"


def test_a_claim_that_fails_is_not_the_last(settings: Settings) -> None:
    failures = [KeyError("a bug")]

    class Faulty(WorkerQueue):
        def claim(self, count: int) -> list[Claim]:
            if failures:
                raise failures.pop()
            return super().claim(count)

    submit(settings, [make_job(seed=n) for n in range(2)])
    with running(Faulty(connect(str(settings.redis_url)), settings, MODEL, "w"), 2) as intake:
        assert len(gather(intake, 2)) == 2, "and the room that it had asked for is still there"


def test_promises_do_not_wait_for_a_slot(settings: Settings, queue: WorkerQueue) -> None:
    """Two slots, which patient jobs have taken, and two seats beside them, the second for who must start in 3.75 s."""
    patient = [make_job(seed=n) for n in range(3)]
    far, near = [make_job(deadline_s=30.0) for _ in range(2)], [make_job(deadline_s=0.9) for _ in range(2)]
    told: list[str] = []
    intake = Intake(queue, 2, lambda claim: told.append(claim.job.id), Express(2, 60.0), lambda: told.append("express"))
    submit(settings, patient)
    intake.start()
    try:
        assert len(gather(intake, 2)) == 2
        submit(settings, far)
        assert [claim.job.id for claim in gather(intake, 1)] == [far[0].id]
        assert intake.take(0.3) == [], "the last seat is kept for who is in a hurry"
        assert told == [patient[0].id, patient[1].id, "express", far[0].id]
        assert intake.leave_express(patient[0].id) is False
        assert intake.leave_express(far[0].id) is True
        assert [claim.job.id for claim in gather(intake, 1)] == [far[1].id]
        intake.close_express()
        assert intake.take(0.3) == [], "a claim that was under way has come back by now"
        submit(settings, near)
        assert intake.take(0.3) == []
        intake.make_room(1)
        assert len(gather(intake, 1)) == 1, "a slot is for any job"
    finally:
        intake.stop()


def test_the_last_seat_is_for_who_is_in_a_hurry(settings: Settings, queue: WorkerQueue) -> None:
    intake = Intake(queue, 1, lambda _: None, Express(2, 60.0))
    submit(settings, [make_job()])
    intake.start()
    try:
        assert len(gather(intake, 1)) == 1
        submit(settings, [make_job(deadline_s=30.0)])
        assert len(gather(intake, 1)) == 1
        near = make_job(deadline_s=3.0)
        submit(settings, [make_job(deadline_s=20.0), near])
        assert [claim.job.id for claim in gather(intake, 1)] == [near.id]
        assert intake.take(0.3) == [], "no seat is left"
    finally:
        intake.stop()
