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


def load_checkpoint(
    path: Path, parts: dict[str, Any], device: torch.device, optional: dict[str, Any] | None = None
) -> int:
    """Give each part its state back; returns the finished steps, 0 where there is no checkpoint.

    Args:
        path: where the checkpoint lies.
        parts: what it must hold.
        device: where tensors go.
        optional: what older checkpoints lack; these parts are left as they are then.
    """
    if not path.exists():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    there = {name: part for name, part in (optional or {}).items() if name in state}
    for name, part in (parts | there).items():
        part.load_state_dict(state[name])
    return int(state["step"])
