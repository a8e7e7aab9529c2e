"""The embedded model, as a stock pipeline and as the engine has it."""

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from workers.families.sd3 import Sd3Family
from workers.models import SHIPPED


def load() -> StableDiffusion3Pipeline:
    return StableDiffusion3Pipeline.from_pretrained(
        SHIPPED["shapes-64"], text_encoder_3=None, tokenizer_3=None, dtype=torch.float32
    )


@pytest.fixture(scope="module")
def pipeline():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    made = load()
    made.set_progress_bar_config(disable=True)
    yield made
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def family():
    return Sd3Family(load())
