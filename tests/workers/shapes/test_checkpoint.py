"""Checkpoints: whole or not at all, and readable without running what is in them."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from workers.shapes.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


class Breaking(nn.Module):
    """Something that cannot be saved."""

    def state_dict(self, *args, **kwargs) -> dict[str, object]:
        return {"function": lambda: None}


def test_state_and_step_come_back(tmp_path: Path) -> None:
    saved, fresh = nn.Linear(3, 2), nn.Linear(3, 2)
    save_checkpoint(tmp_path / "deep" / "one.pt", {"layer": saved}, 7)
    assert load_checkpoint(tmp_path / "deep" / "one.pt", {"layer": fresh}, CPU) == 7
    assert torch.equal(fresh.weight, saved.weight)


def test_without_a_file_nothing_changes_and_no_step_is_done(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    assert load_checkpoint(tmp_path / "none.pt", {"layer": layer}, CPU) == 0
    assert torch.equal(layer.weight, before)


def test_a_part_is_required_unless_it_is_optional(tmp_path: Path) -> None:
    path, other = tmp_path / "one.pt", nn.Linear(3, 2)
    save_checkpoint(path, {"layer": nn.Linear(3, 2)}, 7)
    with pytest.raises(KeyError, match="other"):
        load_checkpoint(path, {"other": other}, CPU)
    before = other.weight.clone()
    assert load_checkpoint(path, {}, CPU, optional={"other": other}) == 7
    assert torch.equal(other.weight, before)


def test_a_save_that_fails_leaves_the_last_one(tmp_path: Path) -> None:
    path, layer = tmp_path / "one.pt", nn.Linear(3, 2)
    save_checkpoint(path, {"layer": layer}, 7)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, {"layer": Breaking()}, 8)
    assert load_checkpoint(path, {"layer": layer}, CPU) == 7


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    torch.save({"step": 1, "layer": Path("x")}, path)
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        load_checkpoint(path, {"layer": nn.Linear(3, 2)}, CPU)
