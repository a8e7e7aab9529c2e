"""Where a model's files lie: shipped, in a local folder, or in the hub's cache; and whether they are safe to load."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from diffusers import DiffusionPipeline

from pacer.hub import HubName, cache_folder, hub_name, offline
from pacer.models import CARD_NAME, INDEX_NAME

SHIPPED: dict[str, Path] = {"shapes-64": Path(__file__).parent / "shapes" / "model"}
"""Models that come with Pacer, by name."""

_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


class ModelError(ValueError):
    """A model that cannot be loaded; the message says why and what can."""


def find_folder(name: str) -> Path:
    """The folder of a model by shipped name, local folder or hub id.

    Args:
        name: of the hub owner/name or owner/name@revision; what the cache lacks of it is downloaded, with HF_TOKEN
            where it is set, unless HF_HUB_OFFLINE is.

    Raises:
        ModelError: the download failed, or is forbidden.
    """
    folder = SHIPPED.get(name, Path(name))
    on_hub = hub_name(name)
    local = any((folder / file).is_file() for file in (INDEX_NAME, CARD_NAME))
    return folder if local or on_hub is None else _downloaded(on_hub)


def _downloaded(name: HubName) -> Path:
    """The snapshot of a hub id, with what the pipeline needs of it, weights as safetensors only."""
    try:
        folder = DiffusionPipeline.download(
            name.repo,
            revision=name.revision,
            cache_dir=cache_folder(),
            use_safetensors=True,
            local_files_only=offline(),
        )
    except (OSError, ValueError) as error:
        why = "is not cached, and HF_HUB_OFFLINE forbids a download" if offline() else "cannot be downloaded"
        raise ModelError(f"{name} {why}: {error}") from error
    return Path(folder)


def refuse_pickles(folder: Path, unused: Collection[str] = ()) -> None:
    """Refuse a model that has a part with pickled weights only: loading a pickle runs whatever code is in it.

    Args:
        folder: the model, with its `model_index.json`.
        unused: parts that are never loaded.

    Raises:
        ModelError: names the file and says what to do.
    """
    index = json.loads((folder / INDEX_NAME).read_text())
    for part in sorted(path for path in folder.iterdir() if path.is_dir() and path.name in index.keys() - set(unused)):
        files = sorted(path for path in part.iterdir() if path.is_file())
        pickled = [path for path in files if path.suffix in _PICKLED]
        if pickled and not any(path.suffix == ".safetensors" for path in files):
            raise ModelError(
                f"{folder}: {part.name}/{pickled[0].name} is a pickle, and loading one runs the code in it; only "
                "safetensors are loaded. Convert it with save_pretrained(..., safe_serialization=True)"
            )
