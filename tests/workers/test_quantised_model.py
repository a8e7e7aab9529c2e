"""Quantised checkpoints: loaded as their configuration says, and refused in words where their library is not there."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pacer.models import CardError, as_kept
from pacer.settings import Settings
from tests.workers import int8_rows
from workers.families.base import Family
from workers.keeping import denoiser
from workers.model_folder import ModelError
from workers.models import load

CPU = torch.device("cpu")


def outputs(family: Family) -> Tensor:
    texts = family.encode(["a red circle", "a blue star above a red square"])
    x = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return family.denoise(x, torch.tensor([900.0, 100.0]), texts)


def test_a_quantised_checkpoint_draws_what_its_few_bits_stand_for(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8_rows.install(monkeypatch)
    plain = load(str(tiny_folder), CPU)
    network = denoiser(plain.pipeline)
    few = load(str(int8_rows.save(tiny_folder, network, tmp_path / "few")), CPU)
    wide = load(str(int8_rows.save(tiny_folder, network, tmp_path / "wide", widened=True)), CPU)

    assert (plain.card.quantization, wide.card.quantization) == (None, None)
    assert few.card.quantization == "int8-rows"
    kept = [layer for layer in denoiser(few.pipeline).modules() if isinstance(layer, int8_rows.Int8Linear)]
    assert len(kept) > 10
    assert {layer.weight.dtype for layer in kept} == {torch.int8}
    torch.testing.assert_close(outputs(few.family), outputs(wide.family), rtol=1e-5, atol=1e-5)
    assert float((outputs(few.family) - outputs(plain.family)).abs().max()) > 1e-3
    with pytest.raises(CardError, match=r"quantised already \(int8-rows\)"):
        as_kept(few.card, Settings(weights="float8"))


@pytest.mark.filterwarnings("ignore:.*Quanto.*deprecated:FutureWarning")  # diffusers would drop it one day
@pytest.mark.parametrize(
    ("package", "quantization", "said"),
    [
        (
            "bitsandbytes",
            "bitsandbytes-nf4",
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        ),
        ("torchao", "torchao-int8wo", {"quant_method": "torchao", "quant_type": "int8wo"}),
        ("optimum-quanto", "quanto-int8", {"quant_method": "quanto", "weights_dtype": "int8"}),
        ("sdnq", "sdnq-int8", {"quant_method": "sdnq", "weights_dtype": "int8"}),
    ],
)
def test_a_missing_library_is_named(
    tiny_folder: Path, tmp_path: Path, package: str, quantization: str, said: dict[str, Any]
) -> None:
    if importlib.util.find_spec(package.partition("-")[0]) is not None:
        pytest.skip(f"{package} is installed")
    folder = int8_rows.mark(Path(shutil.copytree(tiny_folder, tmp_path / "tiny")), said)
    with pytest.raises(ModelError, match=rf"tiny, quantised as {quantization}, cannot be loaded: .*{package}"):
        load(str(folder), CPU)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"quant_method": "magic"}, "quantised as magic, cannot be loaded: Unknown quantization type, got magic"),
        ({"quant_method": "bfl"}, "quantised as bfl, cannot be loaded: .*unexpected keyword argument 'quant_method'"),
        ({"load_in_8bit": True, "quant_method": "bitsandbytes"}, "quantised as bitsandbytes-int8, cannot be loaded: "),
    ],
)
def test_what_cannot_be_loaded_says_how_it_is_quantised(
    tiny_folder: Path, tmp_path: Path, said: dict[str, Any], message: str
) -> None:
    folder = int8_rows.mark(Path(shutil.copytree(tiny_folder, tmp_path / "tiny")), said)
    with pytest.raises(ModelError, match=message):
        load(str(folder), CPU)
