"""Networks that reuse activations between calls are refused; those that only move or cast weights are not."""

from pathlib import Path

import pytest
import torch
from diffusers import FirstBlockCacheConfig, FluxTransformer2DModel, TaylorSeerCacheConfig
from diffusers.hooks import apply_first_block_cache

from tests.workers.conftest import load_stock
from tests.workers.test_runner import Field
from workers.caching_hooks import CachingHookError
from workers.engine import Engine
from workers.families.base import Family
from workers.families.sd3 import Sd3Family


def engine_of(family: Family) -> Engine:
    return Engine(family, slots=2, max_rows=2, best_effort_slack_s=60.0)


class WithNetwork(Field):
    def __init__(self) -> None:
        super().__init__()
        self._transformer = FluxTransformer2DModel(
            in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=1,
            joint_attention_dim=8, pooled_projection_dim=8, axes_dims_rope=(2, 2, 4),
        )  # fmt: skip


@pytest.mark.parametrize(
    "config", [FirstBlockCacheConfig(), TaylorSeerCacheConfig()], ids=lambda config: type(config).__name__
)
def test_a_network_with_a_cache_is_refused_by_name(config: object) -> None:
    family = WithNetwork()
    family._transformer.enable_cache(config)
    with pytest.raises(
        CachingHookError, match=rf"transformer has caching hooks of diffusers \({type(config).__name__}"
    ):
        engine_of(family)
    family._transformer.disable_cache()
    engine_of(family)


def test_hooks_set_without_the_networks_knowledge_are_found_in_a_pipeline(tiny_folder: Path) -> None:
    pipeline = load_stock(tiny_folder)
    family = Sd3Family(pipeline)
    apply_first_block_cache(pipeline.transformer, FirstBlockCacheConfig())
    with pytest.raises(CachingHookError, match=r"transformer has caching hooks of diffusers \(fbc_"):
        engine_of(family)


def test_casting_weights_layer_by_layer_is_no_cache(tiny_folder: Path) -> None:
    pipeline = load_stock(tiny_folder)
    pipeline.transformer.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    engine_of(Sd3Family(pipeline))
