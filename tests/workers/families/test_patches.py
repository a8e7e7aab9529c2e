"""Tokens are laid out as the stock pipelines lay them out."""

import pytest
import torch
from diffusers import FluxPipeline, QwenImagePipeline

from workers.families.patches import from_patches, latent_sides, to_patches

X = torch.arange(2.0 * 3 * 4 * 6).reshape(2, 3, 4, 6)


@pytest.mark.parametrize("stock", [FluxPipeline, QwenImagePipeline])
def test_as_the_stock_pipelines_pack(stock: type[FluxPipeline | QwenImagePipeline]) -> None:
    torch.testing.assert_close(to_patches(X), stock._pack_latents(X, *X.shape))


def test_there_and_back() -> None:
    torch.testing.assert_close(from_patches(to_patches(X), 4, 6), X)


def test_sides() -> None:
    assert latent_sides(1024, 768, 8) == (96, 128)
    with pytest.raises(ValueError, match="multiples of 16 for this model, are 1024 and 760"):
        latent_sides(1024, 760, 8)
