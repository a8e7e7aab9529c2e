"""The engine: what fails, fails alone; what is claimed again, goes on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from pacer.errors import ErrorKind
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Plan, TableMessage
from schedules.compile import compile_table
from schedules.search.splicing import resumed
from tests.workers.test_runner import Field
from workers.engine import Engine
from workers.turn import Drawn, Failed, Turn

GOOD, HUGE = "0.5", "80"


class Fragile(Field):
    """Cannot decode large latents, nor step in company of more than four."""

    def denoise(self, x: Tensor, t: Tensor, conditioning: list[float]) -> Tensor:  # type: ignore[override]
        if len(x) > 4:
            raise RuntimeError("out of memory")
        return super().denoise(x, t, conditioning)

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        if float(x.abs().max()) > 1e3:
            raise RuntimeError("cannot decode")
        return super().decode(x)


def claim_of(
    prompt: str,
    *,
    steps: int = 3,
    fence: int = 1,
    attempt: int = 1,
    job_id: str | None = None,
    deadline_s: float | None = None,
) -> Claim:
    sigmas = np.linspace(1, 0, steps + 1)
    table = compile_table("euler", sigmas, "flow")
    plan = Plan("toy", "custom", "euler", steps, steps, tuple(sigmas.tolist()), None, None)
    job = Job(
        id=job_id or new_job_id("toy"), prompt=prompt, negative_prompt="0", seed=1, width=64, height=64,
        guidance_scale=1.0, plan=plan, table=TableMessage.of(table), deadline_s=deadline_s,
    )  # fmt: skip
    return Claim(job, fence, attempt, 0, 0)


@pytest.fixture
def engine() -> Engine:
    return Engine(Fragile(), slots=8, max_rows=8, best_effort_slack_s=60.0)


def run(engine: Engine) -> list[Drawn | Failed]:
    ended: list[Drawn | Failed] = []
    while len(engine):
        turn: Turn = engine.turn()
        ended += turn.ended
    return ended


def test_a_picture_that_cannot_be_decoded_fails_alone(engine: Engine) -> None:
    for prompt in (GOOD, HUGE, GOOD):
        assert engine.admit(claim_of(prompt)) is None
    ended = run(engine)
    assert [type(one) for one in ended] == [Drawn, Failed, Drawn]
    failed = ended[1]
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.detail) == (ErrorKind.worker_failed, "RuntimeError: cannot decode")
    assert engine.free == 8


def test_a_batch_that_cannot_be_stepped_is_stepped_one_by_one(engine: Engine) -> None:
    for _ in range(6):
        assert engine.admit(claim_of(GOOD)) is None
    assert [type(one) for one in run(engine)] == [Drawn] * 6


def test_a_prompt_that_cannot_be_encoded_fails_at_admission(engine: Engine) -> None:
    failed = engine.admit(claim_of("no number"))
    assert failed is not None
    assert failed.kind is ErrorKind.worker_failed
    assert (len(engine), engine.free) == (0, 8)


def test_a_job_claimed_again_goes_on_under_its_new_fence(engine: Engine) -> None:
    old = claim_of(GOOD)
    engine.admit(old)
    engine.turn()
    new = msgspec.structs.replace(old, fence=2, attempt=2)
    assert engine.adopt(new)
    assert engine.drop(old.job.id, old.fence) is None
    (drawn,) = run(engine)
    assert drawn.claim.fence == 2
    assert not engine.adopt(new)


def by_another_plan(claim: Claim, done: int, steps: int) -> Job:
    first = claim.job.table.table()
    table = resumed(first, done, compile_table("euler", np.linspace(1, 0, steps + 1), "flow"))
    plan = msgspec.structs.replace(claim.job.plan, steps=steps, evaluations=steps, replanned=(3, done))
    return msgspec.structs.replace(claim.job, plan=plan, table=TableMessage.of(table))


@pytest.mark.parametrize("steps", [2, 6])
def test_a_job_goes_on_by_another_plan(engine: Engine, steps: int) -> None:
    claim, company = claim_of(GOOD), claim_of(GOOD, steps=8)
    engine.admit(claim)
    engine.admit(company)
    engine.turn()
    job = by_another_plan(claim, 1, steps)
    changed = engine.replan(job)
    assert changed is not None
    assert changed.job == job
    assert engine.adopt(msgspec.structs.replace(claim, fence=2)), "who claims it anew may not know of it yet"
    turns = 0
    while job.id in {each.job.id for each, _ in engine.progress()}:
        ended = engine.turn().ended
        turns += 1
    assert turns == steps - 1
    (drawn,) = ended
    assert isinstance(drawn, Drawn)
    assert drawn.claim == msgspec.structs.replace(changed, fence=2)


def test_a_plan_that_does_not_fit_changes_nothing(engine: Engine) -> None:
    claim, elsewhere = claim_of(GOOD), claim_of(GOOD)
    engine.admit(claim)
    engine.turn()
    engine.turn()
    assert engine.replan(msgspec.structs.replace(claim.job, table=claim_of(GOOD, steps=7).job.table)) is None
    assert engine.replan(by_another_plan(elsewhere, 1, 6)) is None
    (drawn,) = run(engine)
    assert drawn.claim == claim


def test_what_is_past_its_deadline_is_not_stepped_on_and_costs_nobody_else(engine: Engine) -> None:
    late, in_time = claim_of("1", deadline_s=0.5), claim_of("2", deadline_s=60.0)
    for claim in (late, in_time):
        assert engine.admit(claim) is None
    assert set(engine.turn().stepped) == {late.job.id, in_time.job.id}
    time.sleep(0.5)
    given_up, drawn = run(engine)
    assert isinstance(given_up, Failed)
    assert (given_up.claim, given_up.kind) == (late, ErrorKind.deadline_passed)
    assert "after 1 of 3 evaluations" in given_up.detail
    assert isinstance(drawn, Drawn)
    assert drawn.claim == in_time


def test_steps_must_be_done_early_enough_for_what_follows_them(engine: Engine) -> None:
    engine.speed.decoded(20.0)
    doomed = claim_of("1", deadline_s=10.0)
    assert engine.admit(doomed) is None
    (given_up,) = run(engine)
    assert isinstance(given_up, Failed)
    assert given_up.kind is ErrorKind.deadline_passed


def test_a_dropped_job_leaves_no_trace(engine: Engine) -> None:
    claim = claim_of(GOOD)
    engine.admit(claim)
    engine.turn()
    assert engine.drop(claim.job.id) == claim
    assert (len(engine), engine.free, engine.turn().stepped) == (0, 8, ())


@dataclass(frozen=True)
class Embedding:
    """A text of a network that takes the guidance scale as an input."""

    number: float
    guidance: float | None = 1.0

    def with_guidance(self, scale: float) -> "Embedding":
        return replace(self, guidance=scale)


class Embedded(Field):
    """Takes the scale into its network; notes rows, scales, and which prompts were negative."""

    def __init__(self) -> None:
        super().__init__()
        self.scales: set[float | None] = set()
        self.negative: list[str] = []

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Embedding]:
        self.negative += prompts if negative else ()
        return [Embedding(float(prompt)) for prompt in prompts]

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Embedding]) -> Tensor:
        self.scales |= {text.guidance for text in conditioning}
        return super().denoise(x, t, [text.number for text in conditioning])


def test_a_scale_that_the_network_takes_costs_no_second_row() -> None:
    family = Embedded()
    engine = Engine(family, slots=2, max_rows=8, best_effort_slack_s=60.0)
    for scale in (3.5, 6.0):
        claim = claim_of(GOOD)
        engine.admit(msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, guidance_scale=scale)))
    assert [type(one) for one in run(engine)] == [Drawn] * 2
    assert set(family.rows) == {2}
    assert family.scales == {3.5, 6.0}
    assert family.negative == [], "it would be ignored"


def test_a_negative_prompt_is_encoded_as_one_where_it_counts() -> None:
    family = Embedded()
    engine = Engine(family, slots=2, max_rows=8, best_effort_slack_s=60.0)
    claim = claim_of(GOOD)
    job = msgspec.structs.replace(claim.job, guidance_scale=3.5, true_cfg_scale=2.0)
    engine.admit(msgspec.structs.replace(claim, job=job))
    assert [type(one) for one in run(engine)] == [Drawn]
    assert (set(family.rows), family.scales, family.negative) == ({2}, {3.5}, ["0"])


@pytest.mark.parametrize(("scale", "encoded"), [(1.0, [GOOD]), (2.0, [GOOD, "0"])])
def test_without_guidance_there_is_one_text_to_encode(scale: float, encoded: list[str]) -> None:
    class Noting(Field):
        asked: tuple[str, ...] = ()

        def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[float]:  # type: ignore[override]
            self.asked += tuple(prompts)
            return super().encode(prompts, negative=negative)

    family = Noting()
    engine, claim = Engine(family, slots=2, max_rows=8, best_effort_slack_s=60.0), claim_of(GOOD)
    engine.admit(msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, guidance_scale=scale)))
    assert [type(one) for one in run(engine)] == [Drawn]
    assert list(family.asked) == encoded
