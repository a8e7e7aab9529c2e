"""Pacer Sigmas: the noise levels of an exported schedule, for SamplerCustom and SamplerCustomAdvanced.

Of formula solvers alone: a learned table is more than its sigmas, and PacerScheduler in diffusers is what runs it.

Stands alone, since ComfyUI loads this folder by itself: no import of ComfyUI, nor of the package around it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

FORMAT = "pacer-schedule/1"
SAMPLERS = {("flow", "euler"): "euler", ("flow", "ddim"): "euler"} | {
    (prediction, solver): sampler
    for prediction in ("epsilon", "v_prediction")
    for solver, sampler in (("euler", "euler"), ("dpmpp-2m", "dpmpp_2m"))
}
"""Which of ComfyUI's samplers is our solver; its dpmpp_2m is another one for flows, since it steps in log sigma."""


class PacerSigmas:
    """Reads a file that `pacer schedules export MODEL/SOLVER/STEPS --to json --out FILE` wrote."""

    CATEGORY = "sampling/custom_sampling/schedulers"
    RETURN_TYPES = ("SIGMAS", "STRING")
    RETURN_NAMES = ("sigmas", "sampler_name")
    FUNCTION = "read"
    DESCRIPTION: ClassVar[str] = __doc__ or ""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple[str, dict[str, object]]]]:  # noqa: N802 - ComfyUI's name
        """A path and the budget, which the file must have."""
        return {
            "required": {
                "file": ("STRING", {"default": "schedule.json"}),
                "steps": ("INT", {"default": 6, "min": 1, "max": 1000}),
            }
        }

    def read(self, file: str, steps: int) -> tuple[Tensor, str]:
        """The sigmas, N + 1, float32, the last included, and the name of the sampler that they are for.

        Raises:
            ValueError: no such file or entry, or a schedule that sigmas alone do not carry.
        """
        return read_sigmas(file, steps)


def read_sigmas(file: str | Path, steps: int) -> tuple[Tensor, str]:
    """As PacerSigmas.read."""
    document = _document(Path(file))
    entries: dict[int, dict[str, Any]] = {entry["steps"]: entry for entry in document["entries"]}
    if steps not in entries:
        raise ValueError(f"{file}: no entry of {steps} steps; there are {', '.join(map(str, entries))}")
    return torch.tensor(entries[steps]["sigmas"], dtype=torch.float32), _sampler(document, entries[steps], str(file))


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format must be {FORMAT!r}, is {found!r}")
    return dict(document)


def _sampler(document: dict[str, Any], entry: dict[str, Any], source: str) -> str:
    prediction, solver = document["prediction"], document["solver"]
    sampler = SAMPLERS.get((prediction, solver))
    if sampler is None:
        raise ValueError(f"{source}: ComfyUI has no sampler that is {solver!r} for a {prediction} model")
    table = entry["table"]
    if table is not None and (set(table["w"]) != {1} or set(table["uncond"]) != {"fresh"}):
        raise ValueError(f"{source}: guidance differs from row to row, and sigmas do not carry that")
    if table is not None and any(table.get("networks", ())):
        raise ValueError(f"{source}: has rows for a smaller network, and sigmas do not carry that")
    return sampler
