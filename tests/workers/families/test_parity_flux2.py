"""FLUX.2: klein with classifier-free guidance, dev with an embedded scale."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.workers.families import flow_parity, tiny_flux2
from tests.workers.families.flow_parity import Stock, Wish
from workers.families.flux2 import Flux2Family

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers


def spatial(packed: torch.Tensor) -> torch.Tensor:
    return packed[0].T.unflatten(1, (6, 8))


def klein_arguments(wish: Wish) -> dict[str, Any]:
    return {"guidance_scale": wish.guidance}


def dev_arguments(wish: Wish) -> dict[str, Any]:
    return {"guidance_scale": wish.embedded}


def klein_wishes() -> list[Wish]:
    """The stock pipeline's negative prompt is always empty."""
    return [replace(wish, negative="") for wish in flow_parity.wishes()]


def dev_wishes() -> list[Wish]:
    """The stock pipeline has no guidance beside the embedded scale."""
    return [replace(wish, guidance=1.0) for wish in flow_parity.wishes()]


@pytest.fixture(scope="module")
def klein() -> tuple[Flux2Family, Stock]:
    torch.manual_seed(0)
    return flow_parity.load(tiny_flux2.build_klein(), klein_arguments, spatial)


@pytest.fixture(scope="module")
def dev() -> tuple[Flux2Family, Stock]:
    torch.manual_seed(0)
    return flow_parity.load(tiny_flux2.build_dev(width=48), dev_arguments, spatial)


def test_mixed_requests_match_the_stock_klein_pipeline_alone(klein: tuple[Flux2Family, Stock]) -> None:
    flow_parity.check(*klein, klein_wishes())


def test_mixed_requests_match_the_stock_dev_pipeline_alone(dev: tuple[Flux2Family, Stock]) -> None:
    flow_parity.check(*dev, dev_wishes()[1:11:2])


def test_the_network_heeds_text_time_and_embedded_scale(dev: tuple[Flux2Family, Stock]) -> None:
    family = dev[0]
    red, dog = family.encode(["a red circle", "two three dog"])
    flow_parity.assert_heeded(family, [red, dog, red, red.with_guidance(9.0)], [900.0, 900.0, 300.0, 900.0])
