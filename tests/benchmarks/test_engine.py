"""The benchmark of the engine's turns: the rows that it counts, and the models of real sizes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks.common import write_model
from benchmarks.engine import measure
from benchmarks.real_size import flux1_dev, sd35_medium
from benchmarks.subject import SizeError, Subject, load_subject
from tests.workers.families import tiny_flux, tiny_sd3
from tests.workers.families.parity import adapted

CPU = torch.device("cpu")


@pytest.mark.parametrize(("build", "rows_each"), [(tiny_flux.build, 1), (tiny_sd3.build, 2)])
def test_a_guided_batch_has_as_many_rows_as_its_network_needs(
    build: Callable[[], DiffusionPipeline], rows_each: int
) -> None:
    figures = measure(Subject("tiny", adapted(build()), torch.float32, (16, 16)), batch=3, turns=2)
    assert figures.rows == 3 * rows_each
    assert figures.share == figures.outside_s / figures.network_s > 0


def test_networks_of_real_sizes_have_as_many_numbers_as_the_real_ones() -> None:
    with torch.device("meta"):
        medium, dev = sd35_medium(), flux1_dev()
    assert sum(one.numel() for one in medium.state_dict().values()) == pytest.approx(2.47e9, rel=1e-3)
    assert sum(one.numel() for one in dev.state_dict().values()) == pytest.approx(11.9e9, rel=1e-3)


def test_a_size_that_the_model_does_not_draw_is_refused() -> None:
    with pytest.raises(SizeError, match="shapes-64 does not draw 100 x 100 pixels; it draws 64x64"):
        load_subject("shapes-64", CPU, None, 100)
    with pytest.raises(SizeError, match="multiple of 16"):
        load_subject("sd3.5-medium", CPU, None, 100)


def test_a_model_s_figures_are_written_beside_those_of_others(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    for model, turns in (("a", 1), ("b", 2), ("a", 3)):
        write_model(path, "seconds", model, {"turns": turns})
    assert json.loads(path.read_text()) == {"what": "seconds", "models": {"a": {"turns": 3}, "b": {"turns": 2}}}
