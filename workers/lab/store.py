"""What the lab keeps on disk, named by the hash of what made it: teachers, found grids, measurements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from schedules.search.teacher import Teacher

Json = dict[str, "int | float | str | list[float]"]
Key = Mapping[str, object]
_FORMAT = 1  # raise it when a change of the code makes kept results wrong


@dataclass(frozen=True, slots=True)
class LabStore:
    """A folder of results; each is made once.

    Attributes:
        folder: where; git ignores the default `data/lab`.
        kept: a folder of the same form that others have filled, read where the first has nothing; never written.
    """

    folder: Path
    kept: Path | None = None

    def path(self, kind: str, key: Key, suffix: str) -> Path:
        """Where a result lies."""
        return self.folder / kind / f"{digest(key)}{suffix}"

    def teacher(self, key: Key, device: torch.device, make: Callable[[], Teacher]) -> Teacher:
        """A teacher's trajectories, read or made."""
        path = self.path("teachers", key, ".safetensors")
        if not path.exists():
            _write_teacher(path, make())
        parts = load_file(path, device=str(device))
        sigmas = np.asarray(parts["sigmas"].cpu().numpy())
        return Teacher(sigmas, parts["states"], parts["velocities"], int(parts["steps"]))

    def record(self, kind: str, key: Key, make: Callable[[], Json], *, again: bool = False) -> Json:
        """A result of plain numbers, read or made; `again` makes it anew."""
        known = None if again else self.known(kind, key)
        if known is None:
            known = self.path(kind, key, ".json")
            _write_whole(known, json.dumps(make()).encode())
        found: Json = json.loads(known.read_text())
        return found

    def known(self, kind: str, key: Key) -> Path | None:
        """Where a result of plain numbers can be read, if it has been made."""
        folders = [folder for folder in (self.folder, self.kept) if folder]
        paths = [LabStore(folder).path(kind, key, ".json") for folder in folders]
        return next((path for path in paths if path.exists()), None)


def digest(key: Key) -> str:
    """A short name for what made a result, 32 hex digits."""
    text = json.dumps({"format": _FORMAT, **key}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _write_teacher(path: Path, teacher: Teacher) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    parts = {
        "sigmas": torch.from_numpy(teacher.sigmas),
        "states": teacher.states.cpu().contiguous(),
        "velocities": teacher.velocities.cpu().contiguous(),
        "steps": torch.tensor(teacher.steps),
    }
    save_file(parts, unfinished)
    unfinished.replace(path)


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(data)
    unfinished.replace(path)
