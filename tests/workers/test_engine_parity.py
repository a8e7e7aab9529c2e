"""Engine and batcher together: in whatever company, each job gets what the stock pipeline draws for it alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusion3Pipeline,
    UniPCMultistepScheduler,
)
from numpy.typing import NDArray
from torch import Tensor

from pacer.control.policies import POLICIES
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Plan, TableMessage
from tests.workers.conftest import load_stock
from tests.workers.test_parity import FLOW, Wish
from workers.engine import Engine
from workers.families.sd3 import Sd3Family
from workers.turn import Drawn, Turn

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers

SLOTS, MAX_ROWS = 8, 5
PROMPTS = ("a red circle on a white background", "an orange star left of a pink square on a gray background", "")
SCHEDULERS = (None, UniPCMultistepScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler)


def wish_of(steps: int) -> Wish:
    kind = SCHEDULERS[steps % 4]
    options = {"shift": 3.0} if kind is FlowMatchEulerDiscreteScheduler else FLOW
    guidance = (1.0, 2.5, 6.0)[steps % 3]
    negative = "blue" if steps % 5 == 0 else ""
    return Wish(PROMPTS[steps % 3], negative, 100 + steps, guidance, steps, kind and kind(**options))


def claim_of(wish: Wish, deadline_s: float) -> Claim:
    table = wish.table()
    evaluations = table.network_evaluations(wish.guidance)
    plan = Plan("tiny", "custom", "euler", wish.steps, evaluations, tuple(wish.sigmas().tolist()), None, None)
    job = Job(
        id=new_job_id("tiny"), prompt=wish.prompt, negative_prompt=wish.negative, seed=wish.seed, width=64, height=64,
        guidance_scale=wish.guidance, plan=plan, table=TableMessage.of(table), deadline_s=deadline_s,
    )  # fmt: skip
    return Claim(job, 1, 1, 0, 0)


class Recording(Sd3Family):
    """Keeps the latents that it decodes."""

    def __init__(self, pipeline: StableDiffusion3Pipeline) -> None:
        super().__init__(pipeline)
        self.decoded: list[Tensor] = []

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        self.decoded += list(x)
        return super().decode(x)


@dataclass(frozen=True)
class Choice:
    """One turn: what was there, in the order of admission, how far it was, and what the batcher chose."""

    ready: dict[str, int]
    turn: Turn

    @property
    def paused(self) -> set[str]:
        """What had begun and did not step."""
        return {name for name, step in self.ready.items() if step and name not in self.turn.stepped}


def draw_all(engine: Engine, claims: Sequence[Claim], rng: np.random.Generator) -> tuple[list[Drawn], list[Choice]]:
    """None to two jobs join at each turn, as long as there is room."""
    waiting, drawn, choices = list(claims), list[Drawn](), list[Choice]()
    while waiting or len(engine):
        for _ in range(int(rng.integers(0, 3))):
            if waiting and engine.free:
                assert engine.admit(waiting.pop(0)) is None
        ready = {claim.job.id: step for claim, step in engine.progress()}
        choices.append(Choice(ready, engine.turn()))
        for one in choices[-1].turn.ended:
            assert isinstance(one, Drawn), one
            drawn.append(one)
    return drawn, choices


def test_whatever_the_batcher_chooses_each_job_gets_what_the_stock_pipeline_draws_alone(
    tiny_folder: Path, stock: StableDiffusion3Pipeline
) -> None:
    family, rng = Recording(load_stock(tiny_folder)), np.random.default_rng(0)
    # Of all policies the one under which most requests pause.
    engine = Engine(family, slots=SLOTS, max_rows=MAX_ROWS, best_effort_slack_s=60.0, policy=POLICIES["edf"])
    wishes = {}
    for place, steps in enumerate(rng.permutation(np.arange(1, 21)).tolist()):
        # Most of those that come later are in more of a hurry, so that those before them have to pause.
        claim = claim_of(wish_of(steps), deadline_s=float(100 - 4 * place + rng.uniform(0, 12)))
        wishes[claim.job.id] = claim, wish_of(steps)
    drawn, choices = draw_all(engine, [claim for claim, _ in wishes.values()], rng)
    assert_mixed(choices)
    assert len(drawn) == len(family.decoded) == 20
    for one, latent in zip(drawn, family.decoded, strict=True):
        check(wishes.pop(one.claim.job.id)[1], one, latent, stock)


def assert_mixed(choices: Sequence[Choice]) -> None:
    """The batcher did choose: smaller sets than were ready, in changing company, with jobs that paused half-way."""
    for choice in choices:
        assert set(choice.turn.stepped) <= choice.ready.keys()
        assert choice.turn.rows <= MAX_ROWS
    assert sum(len(choice.turn.stepped) < len(choice.ready) for choice in choices) > 30
    assert len({choice.turn.stepped for choice in choices}) > 20
    assert len(set().union(*(choice.paused for choice in choices))) > 5
    assert sum(len(choice.turn.stepped) for choice in choices) == sum(range(1, 21))


def check(wish: Wish, one: Drawn, latent: Tensor, stock: StableDiffusion3Pipeline) -> None:
    alone = wish.draw_alone(stock, "latent")
    assert isinstance(alone, torch.Tensor)
    assert float((latent - alone).abs().max()) <= 1e-4 * max(1.0, float(alone.abs().max())), wish
    if wish.steps % 3 == 0:  # decoding is the same for all
        picture = np.asarray(wish.draw_alone(stock, "pil"), dtype=np.int16)
        assert np.abs(picture - one.pixels.astype(np.int16)).max() <= 1, wish
