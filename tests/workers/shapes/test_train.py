"""Training of the autoencoder and of the flow: the same whether interrupted or not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from torch import nn
from transformers import PreTrainedTokenizerFast

from tests.workers.interrupting import Interrupting
from tests.workers.shapes.conftest import TINY
from workers.shapes import averaged
from workers.shapes import train_flow as flow_training
from workers.shapes import train_vae as vae_training
from workers.shapes.pool import Pool
from workers.shapes.recipe import history_of
from workers.shapes.train_flow import FlowModel, train_flow
from workers.shapes.train_vae import psnr, round_trip_db, train_vae

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae_training, "_SAVE_EVERY", 2)
    monkeypatch.setattr(vae_training, "_CHECKED", 2)
    monkeypatch.setattr(averaged, "_SAVE_EVERY", 2)


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def test_an_interrupted_autoencoder_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    def train(folder: str, progress: Progress) -> nn.Module:
        return train_vae(tmp_path / folder, steps=4, batch_size=2, device=CPU, progress=progress)

    whole = train("whole", Interrupting(99))
    with pytest.raises(KeyboardInterrupt):
        train("parts", Interrupting(3))
    resumed = Interrupting(99)
    again = train("parts", resumed)
    assert resumed.left == 99 - 2  # went on after the second step
    assert_equal(whole, again)


def test_an_interrupted_flow_ends_as_an_uninterrupted_one(
    pool: Pool, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def train(folder: str, progress: Progress) -> FlowModel:
        return train_flow(tmp_path / folder, pool, tokenizer, TINY, device=CPU, progress=progress)

    whole = train("whole", Interrupting(99))
    with pytest.raises(KeyboardInterrupt):
        train("parts", Interrupting(3))
    resumed = Interrupting(99)
    again = train("parts", resumed)
    assert resumed.left == 99 - 2
    assert_equal(whole, again)
    state = torch.load(tmp_path / "parts" / "flow.pt", weights_only=True)
    stages = history_of(state).stages
    assert [(stage.first_step, stage.pictures, stage.recipe) for stage in stages] == [(0, len(pool.latents), TINY)]


def test_a_flow_of_before_recipes_were_saved_goes_on(
    pool: Pool, tokenizer: PreTrainedTokenizerFast, trained: Path, tmp_path: Path
) -> None:
    state = torch.load(trained / "flow.pt", weights_only=True)
    del state["history"]
    torch.save(state, tmp_path / "flow.pt")
    longer = replace(TINY, steps=6)
    train_flow(tmp_path, pool, tokenizer, longer, device=CPU, progress=Progress(disable=True))
    history = history_of(torch.load(tmp_path / "flow.pt", weights_only=True))
    assert [(stage.first_step, stage.recipe) for stage in history.stages] == [(4, longer)]
    assert history.told(6, 3)[0] == "steps 1 to 4: settings not on record"


def test_every_parameter_learns_by_one_optimiser(tokenizer: PreTrainedTokenizerFast) -> None:
    model = FlowModel(TINY, tokenizer)
    held = [id(p) for o in averaged.build_optimisers(model) for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_the_noise_levels_follow_the_recipe(pool: Pool, tokenizer: PreTrainedTokenizerFast) -> None:
    empty = flow_training.tokenize(tokenizer, [""])

    def mean_sigma(sigma_mean: float) -> float:
        recipe = replace(TINY, batch_size=2000, sigma_mean=sigma_mean)
        _, tokens, sigma, _ = flow_training.draw_batch(pool, recipe, 0, empty, CPU)
        dropped = float((tokens == empty).all(1).float().mean())
        assert dropped == pytest.approx(recipe.prompt_dropout, abs=0.03)
        assert 0 < sigma.min() < sigma.max() < 1
        return float(sigma.mean())

    assert mean_sigma(0.0) == pytest.approx(0.5, abs=0.03)
    assert mean_sigma(1.0) > 0.6


def test_the_round_trip_is_the_mean_over_the_pictures_asked_for() -> None:
    torch.manual_seed(0)
    vae = vae_training.build_vae().eval()
    # What has learned nothing is about as wrong as gray is: 4 / mse of a picture in -1..1 is not far from 1.
    assert 0 < round_trip_db(vae, CPU, 3) < 15
    assert psnr(4.0) == 0
    assert psnr(0.04) == pytest.approx(20)
