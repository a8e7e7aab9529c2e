"""What a side is asked to draw, and the most memory that it takes for it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

_MIB, _KIB_IN_MIB = 2**20, 2**10


@dataclass(frozen=True)
class Asked:
    """A batch of guided pictures.

    Attributes:
        model: its name.
        folder: where it lies; None for one of a real size, which is built.
        device: where it computes, as torch names it.
        dtype: of the weights, as torch names it.
        side: of the pictures, in pixels; None for the model's own size.
        steps: of each picture.
        guidance_scale: of each.
        prompts: one for each.
    """

    model: str
    folder: str | None
    device: str
    dtype: str
    side: int | None
    steps: int
    guidance_scale: float
    prompts: tuple[str, ...]

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


@dataclass(frozen=True)
class Taken:
    """Memory in MiB: with the model loaded, and at its peak while the batch was drawn.

    Attributes:
        loaded_mib: before.
        peak_mib: at the peak, what was loaded included.
        sizes: height and width of each picture.
        threads: of torch.
    """

    loaded_mib: float
    peak_mib: float
    sizes: tuple[tuple[int, int], ...]
    threads: int

    @property
    def rise_mib(self) -> float:
        """What the peak has on top of the model."""
        return self.peak_mib - self.loaded_mib


def print_taken(device: torch.device, draw: Callable[[], list[tuple[int, int]]]) -> None:
    """Draw, and print as JSON what that took.

    Args:
        device: where the model is.
        draw: draws the batch, and tells the height and width of each picture.
    """
    gc.collect()
    loaded, sizes, peak = (_on_gpu if device.type == "cuda" else _on_host)(draw)
    print(json.dumps(asdict(Taken(loaded, peak, tuple(sizes), torch.get_num_threads()))))


def _on_gpu(draw: Callable[[], list[tuple[int, int]]]) -> tuple[float, list[tuple[int, int]], float]:
    torch.cuda.reset_peak_memory_stats()
    loaded = torch.cuda.memory_allocated()
    sizes = draw()
    torch.cuda.synchronize()
    return loaded / _MIB, sizes, torch.cuda.max_memory_allocated() / _MIB


def _on_host(draw: Callable[[], list[tuple[int, int]]]) -> tuple[float, list[tuple[int, int]], float]:
    # The peak begins anew: getrusage's would count what loading the model took for a moment.
    Path("/proc/self/clear_refs").write_text("5")
    loaded = _resident("VmRSS")
    sizes = draw()
    return loaded, sizes, _resident("VmHWM")


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / _KIB_IN_MIB
