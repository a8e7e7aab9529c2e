"""Batch-invariant mode: the same bits whatever else is in the batch."""

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Plan, TableMessage
from schedules.compile import compile_table
from tests.workers.test_engine import claim_of as toy_claim
from tests.workers.test_runner import SHAPE, Field
from workers.engine import Engine
from workers.image_file import encode_file
from workers.invariance import InvariantFamily, keeps_bits
from workers.memory import BoundedFamily
from workers.models import load
from workers.turn import Drawn

COMPANIES, PARTS = 50, 5
PROMPTS = ("a red circle on a white background", "two blue squares on a gray background", "", "an orange star")


def claim_of(prompt: str, *, steps: int, seed: int, guidance: float, solver: str) -> Claim:
    sigmas = np.linspace(1, 0, steps + 1)
    table = compile_table(solver, sigmas, "flow")
    plan = Plan("shapes-64", "custom", solver, steps, steps, tuple(sigmas.tolist()), None, None)
    job = Job(
        id=new_job_id("shapes-64"), prompt=prompt, negative_prompt="", seed=seed, width=64, height=64,
        guidance_scale=guidance, plan=plan, table=TableMessage.of(table),
    )  # fmt: skip
    return Claim(job, 1, 1, 0, 0)


def target() -> Claim:
    return claim_of(PROMPTS[0], steps=2, seed=7, guidance=2.5, solver="ab2")


def stranger(rng: np.random.Generator) -> Claim:
    """Anyone; some with histories longer than one block."""
    return claim_of(
        PROMPTS[rng.integers(4)],
        steps=int(rng.choice([1, 2, 4, 5, 40])),
        seed=int(rng.integers(1000)),
        guidance=float(rng.choice([1.0, 1.5, 4.0])),
        solver=str(rng.choice(["euler", "ab2", "dpmpp-2m"])),
    )


def sha_of(engine: Engine, company: Sequence[Claim], joining: int) -> str:
    """The hash of the target's PNG, drawn among others that come before and after it."""
    wanted = target()
    for claim in company[:joining]:
        assert engine.admit(claim) is None
    if company[:joining]:
        engine.turn()
    later = list(company[joining:])
    assert engine.admit(wanted) is None
    while len(engine):
        if later and engine.free:
            assert engine.admit(later.pop()) is None
        for one in engine.turn().ended:
            assert isinstance(one, Drawn), one
            if one.claim.job.id == wanted.job.id:
                for claim, _ in engine.progress():
                    engine.drop(claim.job.id)
                data = encode_file(one.pixels, "png", compression=None, texts={})
                return hashlib.sha256(data).hexdigest()
    raise AssertionError("the target was never drawn")


@pytest.fixture(scope="module")
def engine() -> Engine:
    family = load("shapes-64", torch.device("cpu")).family
    return Engine(family, slots=8, max_rows=4, best_effort_slack_s=60.0, batch_invariant=True)


@pytest.fixture(scope="module")
def alone(engine: Engine) -> str:
    return sha_of(engine, (), 0)


@pytest.mark.parametrize("part", range(PARTS))
def test_fifty_companies_give_one_picture(engine: Engine, alone: str, part: int) -> None:
    rng = np.random.default_rng(part)
    for _ in range(COMPANIES // PARTS):
        company = [stranger(rng) for _ in range(rng.integers(1, 5))]
        assert sha_of(engine, company, int(rng.integers(0, len(company) + 1))) == alone


class Uneven(Field):
    """A network whose bits depend on how many rows there are, on the place in an odd batch, and on long neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[int] = set()

    def encode(self, prompts: Sequence[str], *, negative: bool = False) -> list[Tensor]:
        bits = 1e-6 * len(prompts)
        return [torch.full((2 if float(prompt) < 1 else 5,), float(prompt) + bits) for prompt in prompts]

    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Tensor]) -> Tensor:
        self.shapes.add(len(x))
        longest = max(len(text) for text in conditioning)
        texts = [float(text[0]) for text in conditioning]
        place = torch.arange(len(x)).reshape(-1, 1, 1, 1) if len(x) > 4 else 0
        return super().denoise(x, t, texts) + 1e-6 * (len(x) + longest + place)

    def combine(self, conditional: Tensor, unconditional: Tensor, guidance: Tensor) -> Tensor:
        return super().combine(conditional, unconditional, guidance) + 1e-6 * len(conditional)

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        level = (100 * x.abs().flatten(1).sum(1) + len(x)).long().remainder(256).numpy().astype(np.uint8)
        return np.broadcast_to(level[:, None, None, None], (len(x), 64, 64, 3)).copy()


def drawn_latents(engine: Engine, family: "Keeping", company: Sequence[str]) -> Tensor:
    wanted = guided("0.5")
    for prompt in company:
        assert engine.admit(guided(prompt)) is None
    assert engine.admit(wanted) is None
    found = None
    while len(engine):
        ended = engine.turn().ended
        for one, latent in zip(ended, family.latents[-len(ended) :] if ended else [], strict=True):
            if one.claim.job.id == wanted.job.id:
                found = latent
    assert found is not None
    return found


class Keeping(Uneven):
    """Keeps the latents that it decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.latents: list[Tensor] = []

    def decode(self, x: Tensor) -> NDArray[np.uint8]:
        self.latents += list(x)
        return super().decode(x)


def guided(prompt: str) -> Claim:
    claim = toy_claim(prompt, steps=4)
    return msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, guidance_scale=2.0))


@pytest.mark.parametrize("invariant", [True, False])
def test_a_network_that_minds_its_batch_is_asked_in_batches_of_one_shape(invariant: bool) -> None:
    """Nothing of that network is hidden by the mode: without it the same companies do change the bits."""
    family = Keeping()
    engine = Engine(family, slots=8, max_rows=16, best_effort_slack_s=60.0, batch_invariant=invariant)
    alone = drawn_latents(engine, family, [])
    family.shapes.clear()
    same = [torch.equal(drawn_latents(engine, family, ["0.25"] * n + ["3"] * (n % 2)), alone) for n in (1, 2, 3)]
    if invariant:
        assert all(same)
        assert family.shapes == {4}, "more rows do not keep their bits"
    else:
        assert not any(same)


@pytest.mark.parametrize(("rows", "kept"), [(1, True), (2, True), (4, True), (5, False), (8, False)])
def test_the_check_finds_places_that_change_bits(rows: int, kept: bool) -> None:
    family = Uneven()
    assert keeps_bits(family, SHAPE, rows, family.encode(["0.5"])) is kept


def test_the_check_finds_company_that_changes_bits() -> None:
    class Mixing(Field):
        def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[float]) -> Tensor:  # type: ignore[override]
            return super().denoise(x, t, conditioning) + 1e-6 * x.sum()

    assert not keeps_bits(Mixing(), SHAPE, 2, [0.5])


def test_where_memory_runs_out_the_number_is_found_again() -> None:
    class Shrinking(Field):
        most = 8

        def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[float]) -> Tensor:  # type: ignore[override]
            if len(x) > self.most:
                raise torch.OutOfMemoryError("out of memory")
            return super().denoise(x, t, conditioning)

    shrinking = Shrinking()
    family = InvariantFamily(BoundedFamily(shrinking, 8))
    x, t = torch.zeros(2, *SHAPE), torch.zeros(2)
    family.denoise(x, t, [0.5, 0.5])
    assert family.rows(SHAPE) == 8
    shrinking.most = 3
    for _ in range(2):
        family.denoise(x, t, [0.5, 0.5])
    assert family.rows(SHAPE) == 2
