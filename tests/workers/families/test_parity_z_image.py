"""Z-Image: a clock and a velocity that run the other way, and a scale that is one less than everybody else's."""

from typing import Any

import pytest
import torch

from tests.workers.families import flow_parity, tiny_z_image
from tests.workers.families.flow_parity import Stock, Wish
from workers.families.z_image import ZImageFamily

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers


def arguments(wish: Wish) -> dict[str, Any]:
    return {"guidance_scale": wish.guidance - 1, "negative_prompt": wish.negative}


def load(**options: Any) -> tuple[ZImageFamily, Stock]:
    torch.manual_seed(0)
    return flow_parity.load(tiny_z_image.build(**options), arguments, torch.Tensor.squeeze)


@pytest.fixture(scope="module")
def loaded() -> tuple[ZImageFamily, Stock]:
    return load()


def test_mixed_requests_match_the_stock_pipeline_alone(loaded: tuple[ZImageFamily, Stock]) -> None:
    flow_parity.check(*loaded, flow_parity.wishes())


def test_the_network_heeds_text_and_time(loaded: tuple[ZImageFamily, Stock]) -> None:
    red, dog = loaded[0].encode(["a red circle", "two three dog"])
    flow_parity.assert_heeded(loaded[0], [red, dog, red], [900.0, 900.0, 300.0])


def test_longer_company_is_masked(loaded: tuple[ZImageFamily, Stock]) -> None:
    """Captions are padded to multiples of 32 tokens: one of these has 32 more than the others."""
    texts = loaded[0].encode(["a dog", "", "a red circle above the blue square " * 5])
    assert [len(text) > 32 for text in texts] == [False, False, True]
    flow_parity.assert_company_is_unheard(loaded[0], texts)
