"""Training checkpoints: written whole or not at all, read back without pickled code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """What has a state to save: modules, optimisers, averages."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Take the state back."""
        ...


def save_checkpoint(path: Path, parts: dict[str, Any], step: int) -> None:
    """Write the state of all parts and the number of finished steps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path, parts: dict[str, Any], device: torch.device) -> int:
    """Give each part its state back; returns the finished steps, 0 where there is no checkpoint."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])
