"""Latent consistency models: a scale that the network takes, and fresh noise at each step, as the stock pipeline's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pacer.control.budget_request import BudgetRequest, PictureEntry
from pacer.control.planner import plan
from pacer.errors import PacerError
from pacer.models import CardError, ModelCard, require_teacher
from schedules.registry import Registry
from schedules.table import Table
from tests.workers.families import parity, tiny
from workers.families.base import hand_over_guidance
from workers.models import LoadedModel, load
from workers.networks import Networks
from workers.runner import Runner, Spec

pytestmark = parity.quiet

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Wish:
    prompt: str
    seed: int
    guidance: float
    steps: int


WISHES = [
    Wish("red cat", 1, 8.5, 1),
    Wish("the red dog sits under a tree", 2, 1.0, 2),
    Wish("", 3, 7.3, 3),
    Wish("house", 4, 8.5, 4),
    Wish("red cat", 5, 12.0, 6),
    Wish("a blue cat with an ugly house", 6, 2.1, 8),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tiny.lcm, tmp_path_factory.mktemp("lcm") / "tiny-lcm")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load(str(folder), CPU)


def ask(card: ModelCard, **wanted: object) -> BudgetRequest:
    defaults = {"guidance_scale": card.guidance_scale, "width": 16, "height": 16}
    return BudgetRequest(card=card, **{**defaults, **wanted})


def planned(card: ModelCard, wish: Wish) -> Table:
    made, table = plan(ask(card, guidance_scale=wish.guidance, steps=wish.steps), Registry(()), None)
    assert (made.solver, made.evaluations) == ("lcm", wish.steps)
    return table


def draw_together(loaded: LoadedModel) -> list[Tensor]:
    """One joins at each turn; all that are there step together."""
    runner, left, done = Runner(Networks(loaded.family, max_rows=64), slots=6), dict[str, int](), dict[str, Tensor]()
    for turn in range(20):
        if turn < len(WISHES):
            wish, name = WISHES[turn], str(turn)
            table, shape = planned(loaded.card, wish), loaded.family.latent_shape(16, 16)
            texts = [*loaded.family.encode([wish.prompt]), *loaded.family.encode(["unheard"], negative=True)]
            texts, scale = hand_over_guidance(texts, wish.guidance)
            runner.admit(name, Spec(table, scale, wish.seed, shape, *texts))
            left[name] = wish.steps
        if left:
            assert not runner.step(list(left))
        left = {name: count - 1 for name, count in left.items()}
        for name in [name for name, count in left.items() if count == 0]:
            done[name] = runner.results([name])[0]
            runner.release(name)
            del left[name]
    return [done[str(index)] for index in range(len(WISHES))]


def test_mixed_requests_match_the_stock_pipeline_alone(loaded: LoadedModel, folder: Path) -> None:
    stock, together = parity.load_stock(folder), draw_together(loaded)
    pictures = loaded.family.decode(torch.stack(together))
    for wish, latent, picture in zip(WISHES, together, pictures, strict=True):
        alone, theirs = (
            stock(
                wish.prompt, width=16, height=16, guidance_scale=wish.guidance, num_inference_steps=wish.steps,
                generator=torch.Generator().manual_seed(wish.seed), output_type=kind,
            ).images[0]
            for kind in ("latent", "pil")
        )  # fmt: skip
        assert float((latent - alone).abs().max()) <= 1e-4 * max(1.0, float(alone.abs().max())), wish
        assert np.abs(np.asarray(theirs, dtype=np.int16) - picture.astype(np.int16)).max() <= 1, wish


def test_the_network_heeds_the_scale(loaded: LoadedModel) -> None:
    (text,) = loaded.family.encode(["red cat"])
    assert text.guidance == loaded.card.guidance_scale == 8.5
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    one, other = loaded.family.denoise(x, torch.tensor([500.0, 500.0]), [text, text.with_guidance(2.0)])
    assert float((one - other).abs().max()) > 1e-3


def test_its_four_steps_are_what_a_request_gets_and_nothing_is_searched(loaded: LoadedModel) -> None:
    made, table = plan(ask(loaded.card), Registry(()), None)
    assert (made.steps, made.evaluations, made.schedule, made.solver) == (4, 4, "lcm", "lcm")
    np.testing.assert_allclose(table.t, [999, 759, 499, 259])
    with pytest.raises(CardError, match="distilled to 4 steps"):
        require_teacher(loaded.card)


def test_a_picture_may_be_drawn_from_and_none_be_kept_in_part(loaded: LoadedModel) -> None:
    _, table = plan(ask(loaded.card, picture=PictureEntry(0.5)), Registry(()), None)
    assert table.base == ("noise", "image", "draw", "draw", "draw")
    with pytest.raises(PacerError, match="keeps no part of a picture"):
        plan(ask(loaded.card, picture=PictureEntry(0.5, masked=True)), Registry(()), None)
