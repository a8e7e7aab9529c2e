"""In bfloat16, too, a network hears its time in float32."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.workers.families import flow_parity, tiny_flux, tiny_flux2, tiny_qwen_image
from workers.families.base import Family
from workers.families.flux import FluxFamily
from workers.families.flux2 import Flux2Family
from workers.families.qwen_image import QwenImageFamily

CASES = {
    "flux": (tiny_flux.build, FluxFamily, "time_text_embed"),
    "flux2": (tiny_flux2.build_klein, Flux2Family, "time_guidance_embed"),
    "qwen-image": (tiny_qwen_image.build, QwenImageFamily, "time_text_embed"),
}
CLUSTER = [997.0, 995.0, 993.0, 991.0]
"""Four levels of a published grid, which bfloat16 makes two of."""


@pytest.mark.parametrize("name", CASES)
def test_a_cluster_of_times_stays_apart(name: str) -> None:
    build, adapter, embedding = CASES[name]
    torch.manual_seed(0)
    pipeline = build().to(torch.bfloat16)
    flow_parity.awaken(pipeline.transformer)
    family = adapter(pipeline)
    heard: list[Tensor] = []
    module = getattr(pipeline.transformer, embedding)
    module.timestep_embedder.register_forward_hook(lambda _module, args, _output: heard.append(args[0]))
    denoise_at(family, CLUSTER)
    expected = module.time_proj(torch.tensor(CLUSTER) / (1000 if name == "qwen-image" else 1))
    torch.testing.assert_close(heard[0], expected.to(torch.bfloat16), rtol=0, atol=0)
    assert len(torch.unique(heard[0], dim=0)) == 4


def denoise_at(family: Family, times: list[float]) -> Tensor:
    texts = family.encode(["a red circle"]) * len(times)
    x = torch.zeros(len(times), *family.latent_shape(64, 64))
    return family.denoise(x, torch.tensor(times), texts)


@pytest.mark.parametrize("name", CASES)
def test_times_carry_gradients(name: str) -> None:
    build, adapter, _ = CASES[name]
    torch.manual_seed(0)
    pipeline = build()
    flow_parity.awaken(pipeline.transformer)
    family: Family = adapter(pipeline)
    times = torch.tensor([500.0], requires_grad=True)
    x = torch.ones(1, *family.latent_shape(64, 64))
    slope = torch.autograd.grad(family.denoise(x, times, family.encode(["a dog"])).square().mean(), times)[0]
    assert float(slope.abs()) > 0


@pytest.mark.parametrize("name", CASES)
def test_the_stock_pipeline_keeps_its_own_times(name: str) -> None:
    """The adapter leaves no trace in a pipeline that others go on using."""
    build, adapter, _ = CASES[name]
    torch.manual_seed(0)
    pipeline = build()
    pipeline.set_progress_bar_config(disable=True)
    draw: Callable[[], Tensor] = lambda: pipeline(  # noqa: E731
        prompt="a dog", height=16, width=16, num_inference_steps=2, output_type="latent",
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    before = draw()
    denoise_at(adapter(pipeline), [700.0])
    torch.testing.assert_close(draw(), before, rtol=0, atol=0)
