"""Stable Diffusion XL: the engine's mixed batch against the stock pipeline alone."""

from pathlib import Path

import pytest

from tests.workers.families import tiny
from tests.workers.families.parity import adapted, assert_heeds_everything, assert_parity, load_stock, quiet, wishes

pytestmark = quiet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tiny.sdxl, tmp_path_factory.mktemp("sdxl"))


def test_mixed_requests_match_the_stock_pipeline_alone(folder: Path) -> None:
    assert_parity(folder, wishes())


def test_v_prediction_in_another_width_and_size_with_normalised_latents(tmp_path: Path) -> None:
    folder = tiny.saved(tiny.sdxl, tmp_path, 32, prediction="v_prediction", normalised=True)
    assert_parity(folder, wishes()[3:8], (24, 16))


def test_where_no_negative_prompt_is_an_empty_one(tmp_path: Path) -> None:
    folder = tiny.saved(tiny.sdxl, tmp_path, force_zeros_for_empty_prompt=False)
    unprompted = [wish for wish in wishes() if wish.guidance > 1 and not wish.negative]
    assert_parity(folder, unprompted[:2], pictures=0)


def test_the_network_heeds_text_and_fractional_time(folder: Path) -> None:
    assert_heeds_everything(adapted(load_stock(folder)))
