"""Qwen-Image: prompts as long as they are, guidance that keeps the length of each token."""

from typing import Any

import pytest
import torch

from tests.workers.families import flow_parity, tiny_qwen_image
from tests.workers.families.flow_parity import Stock, Wish
from workers.families.patches import to_patches
from workers.families.qwen_image import QwenImageFamily

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers


def arguments(wish: Wish) -> dict[str, Any]:
    return {"true_cfg_scale": wish.guidance, "negative_prompt": wish.negative}


def load(**options: Any) -> tuple[QwenImageFamily, Stock]:
    torch.manual_seed(0)
    return flow_parity.load(tiny_qwen_image.build(**options), arguments, flow_parity.unpacked)


@pytest.fixture(scope="module")
def loaded() -> tuple[QwenImageFamily, Stock]:
    return load()


def test_mixed_requests_match_the_stock_pipeline_alone(loaded: tuple[QwenImageFamily, Stock]) -> None:
    flow_parity.check(*loaded, flow_parity.wishes())


def test_the_network_heeds_text_and_time(loaded: tuple[QwenImageFamily, Stock]) -> None:
    red, dog = loaded[0].encode(["a red circle", "two three dog"])
    flow_parity.assert_heeded(loaded[0], [red, dog, red], [900.0, 900.0, 300.0])


def test_longer_company_is_masked(loaded: tuple[QwenImageFamily, Stock]) -> None:
    texts = loaded[0].encode(["a dog", "", "a red circle above the blue square on a white background"])
    assert len({len(text) for text in texts}) == 3
    flow_parity.assert_company_is_unheard(loaded[0], texts)


@pytest.mark.parametrize("option", ["guidance_embeds", "zero_cond_t"])
def test_a_network_that_takes_more_than_a_prompt_is_refused(option: str) -> None:
    pipeline = tiny_qwen_image.build()
    pipeline.transformer.register_to_config(**{option: True})
    with pytest.raises(ValueError, match=option):
        QwenImageFamily(pipeline)


def test_guidance_keeps_the_length_of_each_token(loaded: tuple[QwenImageFamily, Stock]) -> None:
    conditional, unconditional = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    mixed = loaded[0].combine(conditional, unconditional, torch.tensor([0.5, 4.0, 9.0]))
    torch.testing.assert_close(to_patches(mixed).norm(dim=-1), to_patches(conditional).norm(dim=-1))
    assert float((mixed - conditional).abs().max()) > 0.1
