"""Stable Diffusion 3 and 3.5 with their third text encoder; without it see test_parity.py of the workers."""

from typing import Any

import pytest
import torch

from tests.workers.families import flow_parity, tiny_sd3
from tests.workers.families.flow_parity import Stock, Wish
from workers.families.sd3 import Sd3Family

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers


def arguments(wish: Wish) -> dict[str, Any]:
    return {"guidance_scale": wish.guidance, "negative_prompt": wish.negative}


def load(**options: Any) -> tuple[Sd3Family, Stock]:
    torch.manual_seed(0)
    return flow_parity.load(tiny_sd3.build(**options), arguments, torch.Tensor.squeeze)


@pytest.fixture(scope="module")
def loaded() -> tuple[Sd3Family, Stock]:
    return load()


def test_mixed_requests_match_the_stock_pipeline_alone(loaded: tuple[Sd3Family, Stock]) -> None:
    flow_parity.check(*loaded, flow_parity.wishes())


def test_layers_with_a_second_attention_match_too() -> None:
    family, stock = load(width=48, dual_layers=(0,))
    flow_parity.check(family, stock, flow_parity.wishes()[2:8:2])


def test_the_network_heeds_text_and_time(loaded: tuple[Sd3Family, Stock]) -> None:
    red, dog = loaded[0].encode(["a red circle", "two three dog"])
    flow_parity.assert_heeded(loaded[0], [red, dog, red], [900.0, 900.0, 300.0])


def test_words_beyond_clip_reach_the_network_through_t5(loaded: tuple[Sd3Family, Stock]) -> None:
    start = "a small dragon in the foggy harbour painted with wide brush strokes and three green"
    assert len(start.split()) == tiny_sd3.WORDS - 1
    blue, red = loaded[0].encode([start + " blue square" * 40, start + " red star" * 20])
    torch.testing.assert_close(blue.pooled, red.pooled, rtol=0, atol=0)
    flow_parity.assert_heeded(loaded[0], [blue, red], [900.0, 900.0])
