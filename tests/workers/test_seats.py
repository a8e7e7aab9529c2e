"""Seats: where there is no memory for one more job, it is given back, and fewer are held from then on."""

from itertools import pairwise

import pytest
import torch

from pacer.errors import ErrorKind
from pacer.jobs.messages import Job
from pacer.jobs.store import JobStore
from pacer.settings import Settings
from tests.workers.little_memory import LittleMemory
from tests.workers.on_store import MODEL, call, ended, make_job, running, status, submit, wait_until
from tests.workers.test_engine import by_another_plan, claim_of, run
from tests.workers.test_runner import SHAPE, Field
from workers.engine import Engine
from workers.memory import Stage
from workers.seats import Seats
from workers.slots import Histories, SlotPool
from workers.turn import Drawn, Failed, GivenBack

COLUMN = 4 * 2 * 3 * 3
"""Bytes of one latent of `SHAPE`."""


def engine_of(slots: int, told: list[Stage] | None = None) -> Engine:
    note = (lambda _: None) if told is None else told.append
    return Engine(Field(), slots=slots, max_rows=64, best_effort_slack_s=60.0, on_out_of_memory=note)


def test_after_memory_ran_out_nobody_is_seated_before_all_have_left() -> None:
    seats = Seats(16)
    assert seats.has_one_for(16)
    seats.lower(5)
    assert seats.count == 8
    assert seats.closed(4)
    assert not seats.has_one_for(5)
    assert seats.has_one_for(1), "it is the only one that is held"
    assert seats.has_one_for(8)
    assert not seats.has_one_for(9)


def test_one_seat_stays() -> None:
    seats = Seats(1)
    seats.lower(1)
    assert (seats.count, seats.has_one_for(1)) == (1, True)


@pytest.mark.parametrize("columns", [1, 32, 33, 64, 101, 300])
def test_a_pool_takes_no_more_than_is_set_aside_for_it(columns: int) -> None:
    with LittleMemory() as memory:
        pool = SlotPool(3, SHAPE, torch.device("cpu"))
        for wanted in range(1, columns + 1):
            pool.reserve(wanted)
        pool.keep_mask(0, torch.ones(1, 3, 3))
    first, unconditional, *grown, mask = memory.made
    histories = [0, first, *grown]
    most = max(old + new for old, new in pairwise(histories)) + unconditional + mask
    assert most <= Histories(3, columns).pool_bytes(SHAPE) <= most + 3 * COLUMN


def test_a_pool_that_does_not_fit_is_made_for_fewer_jobs() -> None:
    told = list[Stage]()
    engine, claim = engine_of(16, told), claim_of("0.5")
    with LittleMemory(5 * 32 * COLUMN):
        assert engine.admit(claim) == GivenBack(claim)
        assert (engine.seats, engine.free, engine.closed) == (8, 8, False)
        assert engine.admit(claim) == GivenBack(claim)
        assert [engine.admit(claim_of("0.5")) for _ in range(4)] == [None] * 4
        assert isinstance(engine.admit(claim), GivenBack), "every seat is taken"
        assert [type(one) for one in run(engine)] == [Drawn] * 4
    assert (engine.seats, told) == (4, ["seat", "seat"])


def test_a_job_too_long_for_the_memory_that_is_left_waits_until_there_is_more() -> None:
    told = list[Stage]()
    engine, long = engine_of(16, told), claim_of("0.5", steps=60)
    with LittleMemory(8 * 64 * COLUMN):
        assert [engine.admit(claim_of("0.5")) for _ in range(3)] == [None] * 3
        assert engine.admit(long) == GivenBack(long)
        assert engine.closed
        assert isinstance(engine.admit(claim_of("0.5")), GivenBack), "the pool must become empty first"
        assert [type(one) for one in run(engine)] == [Drawn] * 3
        assert engine.admit(long) is None
        assert [type(one) for one in run(engine)] == [Drawn]
    assert (engine.seats, told) == (8, ["seat"])


def test_what_does_not_fit_into_one_seat_fails() -> None:
    engine, claim = engine_of(16), claim_of("0.5")
    with LittleMemory(10 * COLUMN):
        assert [type(engine.admit(claim)) for _ in range(4)] == [GivenBack] * 4
        failed = engine.admit(claim)
    assert isinstance(failed, Failed)
    assert failed.kind is ErrorKind.worker_failed
    assert engine.admit(claim) is None


def test_a_prompt_alone_that_does_not_fit_fails_and_costs_no_seat() -> None:
    class Crowded(Field):
        def encode(self, prompts: object, *, negative: bool = False) -> list[float]:  # type: ignore[override]
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    engine = Engine(Crowded(), slots=8, max_rows=8, best_effort_slack_s=60.0)
    assert isinstance(engine.admit(claim_of("0.5")), Failed)
    assert engine.seats == 8


def test_a_longer_plan_that_does_not_fit_is_not_taken() -> None:
    engine, claim = engine_of(4), claim_of("0.5")
    engine.admit(claim)
    engine.turn()
    with LittleMemory(4 * 32 * COLUMN):
        assert engine.replan(by_another_plan(claim, 1, 60)) is None
    (drawn,) = run(engine)
    assert drawn.claim == claim


def test_histories_that_do_not_fit_together_are_combined_one_by_one() -> None:
    engine = engine_of(4)
    for _ in range(4):
        assert engine.admit(claim_of("0.5", steps=20)) is None
    with LittleMemory(40 * COLUMN):
        assert [type(one) for one in run(engine)] == [Drawn] * 4


class Full(Field):
    """Has no memory for the prompt 7 the first time."""

    full = True

    def encode(self, prompts: object, *, negative: bool = False) -> list[float]:  # type: ignore[override]
        texts = super().encode(prompts, negative=negative)  # type: ignore[arg-type]
        if self.full and 7.0 in texts:
            self.full = False
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return texts


def kinds(settings: Settings, job: Job) -> list[str]:
    async def read(store: JobStore) -> list[str]:
        return [event.kind async for event in store.events(job.id)]

    return call(settings, read)  # type: ignore[return-value]


def test_a_worker_gives_the_job_back_uncharged_and_holds_fewer(settings: Settings) -> None:
    small = settings.model_copy(update={"slots": 4, "lease_s": 300.0})
    company = make_job(900, prompt="0.5", negative_prompt="0")
    odd = make_job(3, prompt="7", negative_prompt="0")
    later = [make_job(900, seed=n, prompt="0.5", negative_prompt="0") for n in range(6)]
    with running(Full(), small) as registry:  # type: ignore[arg-type]
        submit(small, [company])
        wait_until(lambda: status(small, company).step > 0)
        submit(small, [odd])
        wait_until(ended(small, [company, odd]))
        count = registry.get_sample_value("pacer_out_of_memory_total", {"model": MODEL, "stage": "seat"})
        submit(small, later)
        wait_until(ended(small, later))
        turns = registry.get_sample_value("pacer_batch_size_count", {"model": MODEL})
        of_two = registry.get_sample_value("pacer_batch_size_bucket", {"model": MODEL, "le": "2.0"})
    assert [status(small, job).status for job in (company, odd, *later)] == ["completed"] * 8
    assert (status(small, odd).attempt, count) == (1, 1)
    assert of_two == turns, "never more than two at once"
    assert not [job for job in later if "requeued" in kinds(small, job)], "no more are claimed than there are seats"


def test_seats_beside_the_slots_go_when_memory_runs_out() -> None:
    seats = Seats(4, express=2)
    assert seats.has_one_for(6)
    seats.lower(5)
    assert seats.count == 2
    assert seats.has_one_for(1)
