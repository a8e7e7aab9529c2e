"""PixArt-Sigma: the engine's mixed batch against the stock pipeline alone."""

from pathlib import Path

import pytest

from tests.workers.families import tiny
from tests.workers.families.parity import adapted, assert_heeds_everything, assert_parity, load_stock, quiet, wishes

pytestmark = quiet

EXACT_SIZE = {"use_resolution_binning": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tiny.pixart_sigma, tmp_path_factory.mktemp("pixart_sigma"))


def test_mixed_requests_match_the_stock_pipeline_alone(folder: Path) -> None:
    assert_parity(folder, wishes(), **EXACT_SIZE)


def test_another_width_and_size(tmp_path: Path) -> None:
    assert_parity(tiny.saved(tiny.pixart_sigma, tmp_path, 32), wishes()[3:8], (24, 16), **EXACT_SIZE)


def test_the_network_heeds_text_and_fractional_time(folder: Path) -> None:
    assert_heeds_everything(adapted(load_stock(folder)))
