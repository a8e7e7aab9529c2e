"""PixArt-Sigma: the engine's mixed batch against the stock pipeline alone."""

import io
import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch

from tests.workers.families import tiny
from tests.workers.families.parity import adapted, assert_heeds_everything, assert_parity, load_stock, quiet, wishes
from workers.models import load

pytestmark = quiet

EXACT_SIZE = {"use_resolution_binning": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tiny.pixart_sigma, tmp_path_factory.mktemp("pixart_sigma"))


def test_mixed_requests_match_the_stock_pipeline_alone(folder: Path) -> None:
    assert_parity(folder, wishes(), **EXACT_SIZE)


def test_another_width_and_size(tmp_path: Path) -> None:
    assert_parity(tiny.saved(tiny.pixart_sigma, tmp_path, 32), wishes()[3:8], (24, 16), **EXACT_SIZE)


def test_a_tokenizer_as_it_is_released(folder: Path, tmp_path: Path) -> None:
    """A sentencepiece model without tokenizer.json, as PixArt-Sigma's hub repositories have it."""
    released = tmp_path / "released"
    shutil.copytree(folder, released)
    tokenizer, pieces = released / "tokenizer", io.BytesIO()
    sentences = ["the red dog and a blue cat sit", "an ugly house", "under the green tree"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=pieces, vocab_size=24, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=2,
    )  # fmt: skip
    shutil.rmtree(tokenizer)
    tokenizer.mkdir()
    (tokenizer / "spiece.model").write_bytes(pieces.getvalue())
    kind = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 300}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(kind))
    index = json.loads((released / "model_index.json").read_text())
    (released / "model_index.json").write_text(json.dumps(index | {"tokenizer": ["transformers", "T5Tokenizer"]}))
    assert load(str(released), torch.device("cpu")).pipeline.tokenizer("red dog").input_ids[-1] == 1
    assert_parity(released, wishes()[2:7], **EXACT_SIZE)


def test_the_network_heeds_text_and_fractional_time(folder: Path) -> None:
    assert_heeds_everything(adapted(load_stock(folder)))
