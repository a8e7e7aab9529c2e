"""A tiny model with random weights, saved in the stock layout and loaded by the real loading code."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from pacer.models import ModelCard
from pacer.settings import Settings
from tests.workers.on_store import FAST, MODEL
from workers.families.sd3 import Sd3Family
from workers.shapes.architecture import build_pipeline, build_transformer


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    pipeline = build_pipeline(transformer=build_transformer(width=64, layers=2))
    pipeline.vae.register_to_config(scaling_factor=0.7, shift_factor=0.1)
    pipeline.save_pretrained(folder)
    return folder


def load_stock(folder: Path) -> StableDiffusion3Pipeline:
    pipeline = StableDiffusion3Pipeline.from_pretrained(
        folder, text_encoder_3=None, tokenizer_3=None, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def stock(tiny_folder: Path) -> StableDiffusion3Pipeline:
    return load_stock(tiny_folder)


@pytest.fixture(scope="session")
def family(tiny_folder: Path) -> Sd3Family:
    return Sd3Family(load_stock(tiny_folder))


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings.model_validate({"redis_url": redis_url, **FAST})


@pytest.fixture(scope="session")
def served_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = ModelCard(
        id=MODEL, width=(64, 64, 8), height=(64, 64, 8), guidance_scale=1.5, guidance_range=(1.0, 10.0),
        prediction="flow",
    )  # fmt: skip
    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("served") / "tiny"))
    (folder / "pacer.json").write_text(card.model_dump_json())
    return folder
