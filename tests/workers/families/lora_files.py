"""LoRA files with random weights, as the stock pipelines save them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from torch import nn

several = pytest.mark.filterwarnings("ignore:Already found a .peft_config:UserWarning")  # that is what is wanted

NETWORK = ("to_q", "to_v", "to_out.0")
TEXT = ("q_proj", "v_proj")


def write(
    pipeline: DiffusionPipeline, folder: Path, name: str, *, seed: int, text: bool = False, strength: float = 0.3
) -> Path:
    """Save a LoRA for a pipeline's denoiser, and for its first text encoder if `text`; the file."""
    network = "unet" if hasattr(pipeline, "unet") else "transformer"
    layers = {f"{network}_lora_layers": _layers(getattr(pipeline, network), NETWORK, seed, strength)}
    if text:
        layers["text_encoder_lora_layers"] = _layers(pipeline.text_encoder, TEXT, seed + 1, strength)
    type(pipeline).save_lora_weights(folder, weight_name=f"{name}.safetensors", **layers)
    return folder / f"{name}.safetensors"


def _layers(network: nn.Module, targets: Sequence[str], seed: int, strength: float) -> dict[str, Any]:
    """Seeded weights for a network that is left as it was."""
    network.add_adapter(LoraConfig(r=3, lora_alpha=4, target_modules=list(targets), init_lora_weights=False), "new")
    generator = torch.Generator().manual_seed(seed)
    state = get_peft_model_state_dict(network, adapter_name="new")
    layers = {key: strength * torch.randn(value.shape, generator=generator) for key, value in state.items()}
    network.delete_adapter("new") if hasattr(network, "delete_adapter") else network.delete_adapters("new")
    return layers
