"""Prompts and pictures beside the step loop: the same results in the same order, and nothing of the rest gives way."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacer.errors import ErrorKind
from tests.workers.test_engine import claim_of
from tests.workers.test_runner import Field
from workers.device import DeviceLostError
from workers.engine import Engine
from workers.turn import Drawn, Failed, Turn


class Gated(Field):
    """Its encoder and its decoder wait until they are let through; 7 breaks the encoder, 80 the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = threading.Event(), threading.Event()
        self.threads: set[str] = set()

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[float]:
        self.threads.add(threading.current_thread().name)
        assert self.encoder.wait(60)
        if "7" in prompts:
            raise RuntimeError("cannot encode")
        if "lost" in prompts:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return super().encode(prompts, negative=negative)

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        self.threads.add(threading.current_thread().name)
        assert self.decoder.wait(60)
        if float(x.abs().max()) > 1e3:
            raise RuntimeError("cannot decode")
        return super().decode(x)


@pytest.fixture
def family() -> Iterator[Gated]:
    made = Gated()
    yield made
    made.encoder.set()
    made.decoder.set()


@pytest.fixture
def engine(family: Gated) -> Iterator[Engine]:
    made = Engine(family, slots=8, max_rows=8, best_effort_slack_s=60.0, overlap=True)
    yield made
    made.close()


def turns_until(engine: Engine, condition: Callable[[], bool]) -> list[Turn]:
    turns, end = [], time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        turns.append(engine.turn())
    return turns


def ended_of(turns: list[Turn]) -> list[Drawn | Failed]:
    return [one for turn in turns for one in turn.ended]


def test_others_step_while_a_prompt_is_encoded_and_a_picture_decoded(engine: Engine, family: Gated) -> None:
    family.encoder.set()
    first, second = claim_of("0.5", steps=2), claim_of("0.25", steps=50)
    for claim in (first, second):
        assert engine.admit(claim) is None
    turns_until(engine, lambda: dict(engine.progress())[second] >= 3)
    family.encoder.clear()
    third = claim_of("3", steps=2)
    assert engine.admit(third) is None
    turns = [engine.turn() for _ in range(10)]
    assert all(turn.stepped == (second.job.id,) for turn in turns)
    assert dict(engine.progress())[first] == 2, "stepped, and not yet a picture"
    assert dict(engine.progress())[third] == 0
    family.encoder.set()
    family.decoder.set()
    ended = ended_of(turns_until(engine, lambda: not len(engine)))
    assert {one.claim.job.id for one in ended} == {first.job.id, second.job.id, third.job.id}
    assert all(isinstance(one, Drawn) for one in ended)
    assert len(family.threads) == 2
    assert threading.current_thread().name not in family.threads


def test_what_fails_beside_the_steps_fails_alone(engine: Engine, family: Gated) -> None:
    family.encoder.set()
    family.decoder.set()
    claims = [claim_of(prompt) for prompt in ("0.5", "7", "80", "0.25")]
    for claim in claims:
        assert engine.admit(claim) is None
    ended = {one.claim.job.prompt: one for one in ended_of(turns_until(engine, lambda: not len(engine)))}
    assert {prompt: type(one) for prompt, one in ended.items()} == {
        "0.5": Drawn,
        "7": Failed,
        "80": Failed,
        "0.25": Drawn,
    }
    failed = [ended["7"], ended["80"]]
    assert [(one.kind, one.detail) for one in failed if isinstance(one, Failed)] == [
        (ErrorKind.worker_failed, "RuntimeError: cannot encode"),
        (ErrorKind.worker_failed, "RuntimeError: cannot decode"),
    ]
    assert engine.free == 8


def test_a_job_dropped_beside_the_steps_does_not_come_back(engine: Engine, family: Gated) -> None:
    encoding = claim_of("0.5")
    assert engine.admit(encoding) is None
    assert engine.drop(encoding.job.id) == encoding
    assert (len(engine), engine.free) == (0, 8)
    family.encoder.set()
    decoding, kept = claim_of("0.5", steps=1), claim_of("0.25", steps=1)
    for claim in (decoding, kept):
        assert engine.admit(claim) is None
    turns_until(engine, lambda: sum(step for _, step in engine.progress()) == 2)
    assert engine.drop(decoding.job.id) == decoding
    family.decoder.set()
    (drawn,) = ended_of(turns_until(engine, lambda: not len(engine)))
    assert drawn.claim == kept
    assert engine.turn().stepped == ()


def test_pictures_come_in_the_order_in_which_they_were_finished(engine: Engine, family: Gated) -> None:
    family.encoder.set()
    claims = [claim_of("0.5", steps=steps) for steps in (9, 3, 6, 1, 2, 5)]
    for claim in claims:
        engine.admit(claim)
    turns = turns_until(engine, lambda: all(step == len(each.job.table.uncond) for each, step in engine.progress()))
    family.decoder.set()
    turns += turns_until(engine, lambda: not len(engine))
    last = {job: number for number, turn in enumerate(turns) for job in turn.stepped}
    finished = [last[one.claim.job.id] for one in ended_of(turns)]
    assert len(finished) == len(claims)
    assert finished == sorted(finished)
    assert finished[0] < finished[-1]


def test_a_device_lost_beside_the_steps_ends_the_engine_and_names_the_job(engine: Engine, family: Gated) -> None:
    family.encoder.set()
    guilty = claim_of("lost")

    def draw() -> None:
        engine.admit(guilty)  # the thread may have failed before this returns
        turns_until(engine, lambda: False)

    with pytest.raises(DeviceLostError) as caught:
        draw()
    assert caught.value.job_ids == (guilty.job.id,)


def test_a_turn_with_nothing_to_step_waits_without_spinning(engine: Engine) -> None:
    engine.admit(claim_of("0.5"))
    started = time.thread_time()
    turns = [engine.turn() for _ in range(3)]
    assert all(turn.stepped == () for turn in turns)
    assert time.thread_time() - started < 0.1
