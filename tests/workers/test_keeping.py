"""However a model's weights are kept, it draws the same; what goes together, and what does not, is told."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.hooks import HookRegistry
from pydantic import ValidationError
from torch import Tensor, nn

from pacer.models import CARD_NAME, CardError, Dtype, as_kept, served
from pacer.models import load as load_card
from pacer.settings import Settings
from tests.workers.families import tiny_qwen_image, tiny_z_image
from workers.caching_hooks import refuse_caching_hooks
from workers.families.base import Family
from workers.families.qwen_image import QwenImageFamily
from workers.families.z_image import ZImageFamily
from workers.keeping import Keeping, denoiser
from workers.models import choose_dtype, load
from workers.networks import Networks
from workers.shapes.architecture import build_pipeline, build_transformer

CPU = torch.device("cpu")


def outputs(family: Family, rows: int = 3) -> Tensor:
    texts = family.encode(["a red circle", "a blue star above a red square", ""])[:rows]
    x = torch.randn(rows, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return family.denoise(x, torch.linspace(900, 100, rows), texts)


def hooks(network: nn.Module) -> set[str]:
    registries = (getattr(module, "_diffusers_hook", None) for module in network.modules())
    return {name for registry in registries if isinstance(registry, HookRegistry) for name in registry.hooks}


def test_weights_that_come_layer_by_layer_draw_the_same(tiny_folder: Path) -> None:
    plain, kept = load(str(tiny_folder), CPU), load(str(tiny_folder), CPU, keeping=Keeping(offloaded=True))
    assert "group_offloading" in hooks(denoiser(kept.pipeline))
    assert "group_offloading" in hooks(kept.pipeline.text_encoder)
    assert kept.family.device == CPU
    refuse_caching_hooks(kept.family)
    torch.testing.assert_close(outputs(kept.family), outputs(plain.family), rtol=0, atol=0)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    assert (kept.family.decode(latents) == plain.family.decode(latents)).all()


def test_weights_in_eight_bits_draw_nearly_the_same(tiny_folder: Path) -> None:
    plain, kept = load(str(tiny_folder), CPU), load(str(tiny_folder), CPU, keeping=Keeping(float8=True))
    wide = [p for p in denoiser(kept.pipeline).parameters() if p.dtype == torch.float8_e4m3fn]
    share = sum(p.numel() for p in wide) / sum(p.numel() for p in denoiser(kept.pipeline).parameters())
    assert share > 0.6  # what diffusers leaves wide, norms and embeddings, is much of so small a network
    refuse_caching_hooks(kept.family)
    expected, actual = outputs(plain.family), outputs(kept.family)
    assert actual.dtype == torch.float32
    off = float((actual - expected).square().mean() / expected.square().mean())
    assert 1e-8 < off < 0.02


def test_a_smaller_network_is_kept_as_the_models_own(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    shutil.copytree(tiny_folder / "transformer", folder / "smaller" / "same")
    kept = load(str(folder), CPU, keeping=Keeping(float8=True, offloaded=True))
    torch.testing.assert_close(outputs(kept.smaller["same"]), outputs(kept.family), rtol=0, atol=0)
    assert any(p.dtype == torch.float8_e4m3fn for p in kept.smaller["same"]._transformer.parameters())  # type: ignore[attr-defined]


@pytest.mark.skipif(shutil.which("g++") is None, reason="COMPILING NOT TESTED: there is no g++ for torch's compiler")
def test_a_compiled_network_draws_the_same_for_any_number_of_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    build_pipeline(transformer=build_transformer(width=32, layers=1)).save_pretrained(tmp_path / "model")
    places = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.workers.compiled_network", str(tmp_path / "model")],
        env={**os.environ, **places}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    difference, graphs = ended.stdout.split()
    assert 0 < float(difference) < 1e-4
    assert int(graphs) == 1, "one for any number of rows"


@pytest.mark.parametrize(
    ("build", "adapter"), [(tiny_qwen_image.build, QwenImageFamily), (tiny_z_image.build, ZImageFamily)]
)
def test_nothing_is_compiled_after_the_start_for_texts_as_long_as_their_prompts(
    build: Callable[[], DiffusionPipeline],
    adapter: Callable[[DiffusionPipeline], Family],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looked through by torch's compiler, and then run as it is, for there may be no g++."""
    whole = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module, **how: whole(module, **how, backend="eager"))
    torch._dynamo.reset()
    counted = torch._dynamo.utils.counters["stats"]
    torch.manual_seed(0)
    pipeline = build()
    family = adapter(pipeline)
    texts = family.encode(["a red circle", "", "a red circle above the blue square " * 5, "a dog"])
    x = torch.randn(4, *family.latent_shape(64, 48), generator=torch.Generator().manual_seed(0))
    plain = family.denoise(x, torch.linspace(900, 100, 4), texts)
    Keeping(compiled=True).place_network(pipeline.transformer, CPU)
    before = counted["unique_graphs"]
    Networks(family, max_rows=8).warm_up(64, 48)
    at_start = counted["unique_graphs"]
    assert at_start > before
    for rows in (1, 2, 3, 4):
        compiled = family.denoise(x[:rows], torch.linspace(900, 100, 4)[:rows], texts[:rows])
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-5)
    assert counted["unique_graphs"] == at_start


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"compile": True, "offload": True}, "PACER_COMPILE goes neither with"),
        ({"compile": True, "weights": "float8"}, "PACER_COMPILE goes neither with"),
        ({"compile": True, "lora_dir": Path("loras")}, "PACER_LORA_DIR goes with none of"),
        ({"weights": "float8", "lora_dir": Path("loras")}, "PACER_LORA_DIR goes with none of"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(wishes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Keeping.of(Settings(**wishes))  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="float8"):
        Settings(weights="int3")  # type: ignore[arg-type]


def test_quantised_weights_are_another_model_to_the_registry() -> None:
    card = load_card("shapes-64")
    assert served(Settings())["shapes-64"] == card
    kept = served(Settings(weights="float8"))["shapes-64"]
    assert kept == card.model_copy(update={"quantization": "float8"})
    assert as_kept(card, Settings()) is card
    with pytest.raises(CardError, match="quantised already"):
        as_kept(kept, Settings(weights="float8"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_operator_says_in_what_a_model_computes(tiny_folder: Path, dtype: Dtype) -> None:
    settings, card = Settings(dtype=dtype, models=(str(tiny_folder),)), load_card(str(tiny_folder))
    (kept,) = served(settings).values()
    assert kept == card.model_copy(update={"dtype": dtype})
    loaded = load(str(tiny_folder), CPU, choose_dtype(settings.dtype))
    assert {each.dtype for each in denoiser(loaded.pipeline).parameters()} == {getattr(torch, dtype)}
    assert outputs(loaded.family).dtype == torch.float32


def test_a_card_may_say_in_what_its_model_computes(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    card = load_card(str(folder)).model_copy(update={"dtype": "bfloat16"})
    (folder / CARD_NAME).write_text(card.model_dump_json())
    assert load(str(folder), CPU).dtype == torch.bfloat16
    assert choose_dtype(Settings().dtype) is None
    assert load(str(folder), CPU, torch.float32).dtype == torch.float32
