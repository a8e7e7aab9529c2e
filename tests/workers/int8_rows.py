"""A quantisation of the tests' own, put into diffusers' tables as its libraries are: rows of int8, a scale for each."""

import json
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ModelMixin
from diffusers.quantizers import auto
from diffusers.quantizers.base import DiffusersQuantizer
from diffusers.quantizers.quantization_config import QuantizationConfigMixin
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_SCALE = "scale"


class Method(StrEnum):
    rows = "int8-rows"


class Config(QuantizationConfigMixin):
    def __init__(self, quant_method: str) -> None:
        self.quant_method = Method(quant_method)

    def to_diff_dict(self) -> dict[str, Any]:
        """As the loader logs it."""
        return self.to_dict()


class Int8Linear(nn.Linear):
    """Keeps its weight as int8 and widens it for each call."""

    def __init__(self, like: nn.Linear) -> None:
        super().__init__(like.in_features, like.out_features, like.bias is not None, device="meta")
        empty = torch.empty(like.weight.shape, dtype=torch.int8, device="meta")
        self.weight = nn.Parameter(empty, requires_grad=False)
        self.register_buffer(_SCALE, torch.empty(like.out_features, 1, device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, (self.weight * self.scale).to(x.dtype), self.bias)


class Quantizer(DiffusersQuantizer):
    is_serializable = is_trainable = False

    def check_if_quantized_param(self, model: ModelMixin, _value: Tensor, name: str, *_: Any, **__: Any) -> bool:
        owner, _, part = name.rpartition(".")
        return isinstance(model.get_submodule(owner), Int8Linear) and part in ("weight", _SCALE)

    def create_quantized_param(
        self, model: ModelMixin, value: Tensor, name: str, device: torch.device, *_: Any, **__: Any
    ) -> None:
        owner, _, part = name.rpartition(".")
        kept = value.to(device)
        setattr(model.get_submodule(owner), part, kept if part == _SCALE else nn.Parameter(kept, requires_grad=False))

    def _process_model_before_weight_loading(self, model: ModelMixin, **_: Any) -> None:
        for name, layer in list(model.named_modules()):
            if type(layer) is nn.Linear:
                model.set_submodule(name, Int8Linear(layer))

    def _process_model_after_weight_loading(self, model: ModelMixin, **_: Any) -> ModelMixin:
        return model


def install(patch: pytest.MonkeyPatch) -> None:
    """Let diffusers know it, as it would if its library were there."""
    patch.setitem(auto.AUTO_QUANTIZATION_CONFIG_MAPPING, Method.rows, Config)
    patch.setitem(auto.AUTO_QUANTIZER_MAPPING, Method.rows, Quantizer)


def save(model: Path, network: nn.Module, folder: Path, *, widened: bool = False) -> Path:
    """A copy of a model whose transformer's linear layers are quantised.

    Args:
        model: in the stock layout.
        network: its transformer.
        folder: where to.
        widened: as plain weights with the values that the quantised ones stand for; the copy is then a plain model.
    """
    shutil.copytree(model, folder)
    (path,) = (folder / "transformer").glob("*.safetensors")
    weights = load_file(path)
    for name in [name for name, layer in network.named_modules() if type(layer) is nn.Linear]:
        wide = weights.pop(f"{name}.weight")
        scale = wide.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
        rows = (wide / scale).round().to(torch.int8)
        weights |= {f"{name}.weight": rows * scale} if widened else {f"{name}.weight": rows, f"{name}.{_SCALE}": scale}
    save_file(weights, path, metadata={"format": "pt"})
    return folder if widened else mark(folder, {"quant_method": Method.rows})


def mark(folder: Path, said: dict[str, Any]) -> Path:
    """Let a model's configuration say how its transformer is quantised."""
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": said}))
    return folder
