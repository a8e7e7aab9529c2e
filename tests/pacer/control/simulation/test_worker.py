"""One simulated worker: what its turns take, and what it gives up."""

import pytest

from pacer.control.batcher import Batcher
from pacer.control.simulation.queue import SimulatedJob
from pacer.control.simulation.worker import SimulatedWorker, Turn
from pacer.jobs.messages import WorkerSpeed

SPEED = WorkerSpeed(0.1, 0.01, 0.02, 0.03, 16, 0.04)


def job(place: int, turns: int = 2, allowed_s: float | None = None) -> SimulatedJob:
    return SimulatedJob(place, (2,) * turns, 0.0, allowed_s, 0.0)


def worker(*jobs: SimulatedJob, best_effort_slack_s: float = 60.0) -> SimulatedWorker:
    one = SimulatedWorker(Batcher(4, 16), SPEED, best_effort_slack_s)
    one.hand_over(jobs)
    return one


def turns_of(one: SimulatedWorker) -> list[Turn]:
    turns, now_s = [], 0.0
    while one.has_work:
        turns.append(one.begin_turn(now_s))
        now_s = turns[-1].ends_s
        one.end_turn(turns[-1])
    return turns


def test_a_turn_takes_its_prompts_its_call_and_its_pictures() -> None:
    short, long = job(0, 1), job(1, 2)
    one = worker(short, long)
    assert one.room == 2
    first, second = turns_of(one)
    assert first.ends_s == pytest.approx(2 * 0.02 + 0.1 + 4 * 0.01 + 0.03)
    assert second.ends_s == pytest.approx(first.ends_s + 0.1 + 2 * 0.01 + 0.03)
    assert (first.finished, second.finished) == ((short,), (long,))
    assert one.busy_s == pytest.approx(second.ends_s)
    assert one.room == 4


def test_progress_is_told_of_those_that_step() -> None:
    one = worker(job(0, 1), job(1, 3))
    one.begin_turn(0.0)
    assert [(each.place, left) for each, left in one.progress()] == [(1, 2)]


def test_what_has_no_time_left_for_what_follows_its_steps_is_given_up() -> None:
    """Steps end at 0.14, 0.26 and 0.38 s; the picture and its delivery take 0.07 s more."""
    assert [turn.expired for turn in turns_of(worker(job(0, 3, allowed_s=0.34)))][-1] == ()
    late = job(0, 3, allowed_s=0.32)
    one = worker(late)
    turns = turns_of(one)
    assert [turn.expired for turn in turns] == [(), (), (late,)]
    assert not any(turn.finished for turn in turns)
    assert turns[-1].ends_s == pytest.approx(0.26), "giving up takes no time"
    assert one.room == 4


def test_what_has_no_deadline_is_never_given_up() -> None:
    patient = job(0, 3)
    turns = turns_of(worker(patient, best_effort_slack_s=0.001))
    assert not any(turn.expired for turn in turns)
    assert turns[-1].finished == (patient,)
