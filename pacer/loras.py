"""LoRAs that an operator offers: files of one folder, known by their names. What a caller says never becomes a path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Lora

MOST = 4
"""Most LoRAs of one request."""

_SUFFIX = ".safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def offered(folder: Path | None, model: str) -> Mapping[str, Path]:
    """The files that requests to a model may name, by name, in alphabetical order.

    Args:
        folder: NAME.safetensors is for every model, MODEL/NAME.safetensors for one, and comes before the other; None
            offers nothing. Names are of letters, digits, ".", "_" and "-"; other files are not offered.
        model: its id.

    Raises:
        PacerError: internal, where the folder cannot be read.
    """
    if folder is None:
        return {}
    files = {path.name.removesuffix(_SUFFIX): path for place in (folder, folder / model) for path in _files(place)}
    return {name: files[name] for name in sorted(files) if _NAME.fullmatch(name)}


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.endswith(_SUFFIX) and path.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PacerError(ErrorKind.internal, f"PACER_LORA_DIR: {folder} cannot be read ({error.strerror})") from error


def choose(wanted: Sequence[Lora], folder: Path | None, model: str) -> tuple[Path, ...]:
    """The file of each LoRA that a request names.

    Raises:
        PacerError: invalid_request; names what the model has.
    """
    files = offered(folder, model) if wanted else {}
    for lora in wanted:
        if lora.name not in files:
            known = f"it has {', '.join(files)}" if files else "it has none (PACER_LORA_DIR)"
            raise PacerError(
                ErrorKind.invalid_request, f"lora: {model} has no LoRA {lora.name[:80]!r}; {known}", field="lora"
            )
    return tuple(files[lora.name] for lora in wanted)
