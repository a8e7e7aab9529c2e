"""How a model's weights are kept on its device: compiled, in few bits, or brought in as they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from diffusers import DiffusionPipeline, ModelMixin

from pacer.settings import Settings

_DENOISERS = ("transformer", "unet")


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is done to a model when it is loaded.

    Attributes:
        compiled: whether its network is compiled, for batches of any size; takes a minute or two at a worker's start.
        float8: whether the network's weights are kept as float8 (e4m3) and widened for each use.
        offloaded: whether weights stay in the host's memory and come to the device layer by layer.

    Raises:
        ValueError: compiled and one of the others.
    """

    compiled: bool = False
    float8: bool = False
    offloaded: bool = False

    def __post_init__(self) -> None:
        if self.compiled and (self.float8 or self.offloaded):
            raise ValueError("PACER_COMPILE goes neither with PACER_WEIGHTS=float8 nor with PACER_OFFLOAD")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As an operator wants it.

        Raises:
            ValueError: wishes that do not go together.
        """
        made = cls(settings.compile, settings.weights == "float8", settings.offload)
        if settings.lora_dir is not None and made != cls():
            raise ValueError(
                "PACER_LORA_DIR goes with none of PACER_COMPILE, PACER_WEIGHTS=float8 and PACER_OFFLOAD: a LoRA would "
                "change layers that they have prepared"
            )
        return made

    def place(self, pipeline: DiffusionPipeline, device: torch.device) -> DiffusionPipeline:
        """Bring a pipeline to its device, or leave it where it is until it is needed there."""
        self.place_network(denoiser(pipeline), device)
        if not self.offloaded:
            return pipeline.to(device)
        placed = denoiser_name(pipeline)
        pipeline.enable_group_offload(
            onload_device=device, offload_type="leaf_level", use_stream=device.type == "cuda", exclude_modules=placed
        )
        return pipeline

    def place_network(self, network: ModelMixin, device: torch.device) -> None:
        """The same for a network that is evaluated at each step."""
        if self.float8:
            network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=network.dtype)
        if self.offloaded:
            network.enable_group_offload(
                onload_device=device, offload_type="leaf_level", use_stream=device.type == "cuda"
            )
        else:
            network.to(device)
        if self.compiled:
            # One graph for a single row, another for any number: what is in a batch changes at every turn.
            network.compile(dynamic=True)


def denoiser_name(pipeline: DiffusionPipeline) -> str:
    """What a pipeline calls the network that is evaluated at each step."""
    return next(part for part in _DENOISERS if getattr(pipeline, part, None) is not None)


def denoiser(pipeline: DiffusionPipeline) -> ModelMixin:
    """That network."""
    network: ModelMixin = getattr(pipeline, denoiser_name(pipeline))
    return network


def device_of(pipeline: DiffusionPipeline) -> torch.device:
    """Where a pipeline computes, wherever its weights are kept."""
    device: torch.device = pipeline._execution_device  # noqa: SLF001  nothing public tells
    return device
