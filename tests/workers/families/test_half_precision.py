"""Networks in half precision: exact times in, float32 out, and no autoencoder that overflows."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

from tests.workers.families import tiny
from tests.workers.families.parity import adapted, load_stock

BUILDERS = [tiny.sd15, tiny.sdxl, tiny.pixart_sigma, tiny.sana]
TIMES = torch.tensor([981.9, 980.0, 997.0, 995.0])
"""Pairs that are one number in bfloat16."""


@pytest.mark.parametrize("build", BUILDERS)
def test_times_that_are_one_in_bfloat16_are_two_to_the_network(
    build: Callable[..., DiffusionPipeline], tmp_path: Path
) -> None:
    family = adapted(load_stock(tiny.saved(build, tmp_path), torch.bfloat16))
    x = torch.randn(family.latent_shape(16, 16), generator=torch.Generator().manual_seed(1))
    output = family.denoise(x.expand(4, *x.shape), TIMES, family.encode(["red cat"]) * 4)
    assert output.dtype is torch.float32
    assert TIMES.bfloat16().unique().numel() == 2
    for one, other in ((0, 1), (2, 3)):
        assert not torch.equal(output[one], output[other])


def test_an_autoencoder_that_overflows_in_float16_is_kept_in_float32(tmp_path: Path) -> None:
    stock = load_stock(tiny.saved(tiny.sdxl, tmp_path), torch.float16)
    family = adapted(stock)
    assert (stock.vae.dtype, stock.unet.dtype) == (torch.float32, torch.float16)
    assert family.decode(torch.zeros(1, *family.latent_shape(16, 16))).shape == (1, 16, 16, 3)
