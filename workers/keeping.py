"""How a model's weights are kept on its device: compiled, in few bits, or brought in as they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from diffusers import DiffusionPipeline, ModelMixin

from pacer.settings import Settings

_DENOISERS = ("transformer", "unet")
_LISTED = ("QwenImageTransformer2DModel", "ZImageTransformer2DModel")
"""Networks that take lists with an item for each row: whole, they would be compiled anew for each number of rows,
and for different lengths of texts. Their blocks take tensors."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is done to a model when it is loaded.

    Attributes:
        compiled: whether its network is compiled, for batches of any size; takes a minute or two at a worker's start.
        graphs: whether calls of the compiled network are recorded and replayed as CUDA graphs, one for each shape.
        float8: whether the network's weights are kept as float8 (e4m3) and widened for each use.
        offloaded: whether weights stay in the host's memory and come to the device layer by layer.

    Raises:
        ValueError: compiled and one of the last two, or graphs of what is not compiled.
    """

    compiled: bool = False
    graphs: bool = False
    float8: bool = False
    offloaded: bool = False

    def __post_init__(self) -> None:
        if self.compiled and (self.float8 or self.offloaded):
            raise ValueError("PACER_COMPILE goes neither with PACER_WEIGHTS=float8 nor with PACER_OFFLOAD")
        if self.graphs and not self.compiled:
            raise ValueError("PACER_CUDA_GRAPHS records a compiled network: set PACER_COMPILE=1 as well")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As an operator wants it.

        Raises:
            ValueError: wishes that do not go together.
        """
        made = cls(settings.compile, settings.cuda_graphs, settings.weights == "float8", settings.offload)
        if settings.lora_dir is not None and made != cls():
            raise ValueError(
                "PACER_LORA_DIR goes with none of PACER_COMPILE, PACER_WEIGHTS=float8 and PACER_OFFLOAD: a LoRA would "
                "change layers that they have prepared"
            )
        return made

    def require(self, device: torch.device) -> None:
        """Make sure that a model can be kept so there.

        Raises:
            ValueError: it cannot.
        """
        if self.graphs and device.type != "cuda":
            raise ValueError(f"PACER_CUDA_GRAPHS needs a GPU, and this worker computes on the {device}; leave it out")

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
            # One graph for a single row, another for any number: what is in a batch changes at every turn. A recording
            # holds for one number, so that batches are filled up where there are any (`buckets.py`).
            compile_part = network.compile_repeated_blocks if type(network).__name__ in _LISTED else network.compile
            compile_part(dynamic=True, mode="reduce-overhead" if self.graphs else None)


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
