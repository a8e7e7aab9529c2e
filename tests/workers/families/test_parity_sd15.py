"""Stable Diffusion 1.5: the engine's mixed batch against the stock pipeline alone."""

from pathlib import Path

import pytest

from tests.workers.families import tiny
from tests.workers.families.parity import adapted, assert_heeds_everything, assert_parity, load_stock, quiet, wishes

pytestmark = quiet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tiny.sd15, tmp_path_factory.mktemp("sd15"))


def test_mixed_requests_match_the_stock_pipeline_alone(folder: Path) -> None:
    assert_parity(folder, wishes())


def test_v_prediction_in_another_width_and_size(tmp_path: Path) -> None:
    assert_parity(tiny.saved(tiny.sd15, tmp_path, 32, prediction="v_prediction"), wishes()[3:8], (24, 16))


def test_of_the_autoencoders_numbers_only_the_scale_counts_as_in_stock(tmp_path: Path) -> None:
    others = {"shift_factor": 0.4, **tiny.CHANNEL_STATISTICS}
    assert_parity(tiny.saved(tiny.sd15, tmp_path, autoencoder=others), wishes()[2:5])


def test_the_network_heeds_text_and_fractional_time(folder: Path) -> None:
    assert_heeds_everything(adapted(load_stock(folder)))
