"""Training: the same whether interrupted or not."""

from pathlib import Path

import pytest
import torch

from tests.workers.interrupting import Interrupting
from workers.digits import train as training
from workers.digits.data import Digits, draw_batch, load_digits
from workers.digits.export import export
from workers.digits.network import NO_DIGIT, DigitsNetwork, load_network
from workers.digits.train import Recipe, noise_scheduler, train

RECIPE = Recipe(steps=6, batch_size=16)


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Digits]:
    return load_digits()


def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    digits: tuple[Digits, Digits], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_EVERY", 2)
    whole, _ = train(tmp_path / "whole", digits[0], RECIPE, Interrupting(99))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", digits[0], RECIPE, Interrupting(3))
    resumed = Interrupting(99)
    again, seconds = train(tmp_path / "parts", digits[0], RECIPE, resumed)
    assert resumed.left == 99 - 4  # went on after the second step
    assert seconds > 0
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_batch_depends_on_seed_and_step_alone(digits: tuple[Digits, Digits]) -> None:
    def draw(step: int, seed: int) -> torch.Tensor:
        return draw_batch(digits[0], step, size=8, train_times=1000, drop=0.1, seed=seed).noise

    torch.testing.assert_close(draw(3, 0), draw(3, 0))
    assert not torch.equal(draw(3, 0), draw(4, 0))
    assert not torch.equal(draw(3, 0), draw(3, 1))


def test_a_tenth_of_the_labels_is_left_out(digits: tuple[Digits, Digits]) -> None:
    labels = draw_batch(digits[0], 0, size=20_000, train_times=1000, drop=0.1, seed=0).labels
    assert (labels == NO_DIGIT).double().mean() == pytest.approx(0.1, abs=0.01)


def test_unseen_digits_are_not_trained_on(digits: tuple[Digits, Digits]) -> None:
    trained, unseen = digits
    assert (len(trained.labels), len(unseen.labels)) == (1500, 297)
    assert set(map(bytes, trained.pictures.numpy())).isdisjoint(map(bytes, unseen.pictures.numpy()))
    assert (float(trained.pictures.min()), float(trained.pictures.max())) == (-1, 1)


def test_what_is_exported_loads_again_and_has_its_card(digits: tuple[Digits, Digits], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DigitsNetwork()
    card = export(tmp_path, network, noise_scheduler(), digits, {"optimiser steps": "0"})
    assert "| optimiser steps | 0 |" in card
    assert (tmp_path / "README.md").read_text() == card
    x = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(load_network(tmp_path)(x, 3).sample, network.float()(x, 3).sample)
