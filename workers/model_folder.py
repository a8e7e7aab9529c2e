"""Where a model's files lie: shipped, in a local folder, or in the hub's cache; and whether they are safe to load."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from diffusers import DiffusionPipeline
from huggingface_hub import snapshot_download

from pacer.derived_card import SMALLER
from pacer.hub import HubName, cache_folder, hub_name, offline
from pacer.models import CARD_NAME, INDEX_NAME

SHIPPED: dict[str, Path] = {"shapes-64": Path(__file__).parent / "shapes" / "model"}
"""Models that come with Pacer, by name."""

_OWN = [CARD_NAME, *(f"{SMALLER}/*/*.{ending}" for ending in ("json", "safetensors"))]
_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_PIECES = ("spiece.model", "tokenizer.model")
"""Tokenizers as sentencepiece saves them, which `tokenizer.json` beside them stands for."""
_PIECES_NEED = ("sentencepiece", "google.protobuf")
_WEIGHTS = re.compile(r"[^.]+(\.(?P<variant>[^.-]+))?(-\d+-of-\d+)?\.safetensors")


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
    """The snapshot of a hub id, with what is needed of it, weights as safetensors only."""
    repo, revision, cache = name.repo, name.revision, cache_folder()
    try:
        folder = DiffusionPipeline.download(
            repo, revision=revision, cache_dir=cache, use_safetensors=True, local_files_only=offline()
        )
        if not offline():  # the library knows nothing of what is Pacer's own
            snapshot_download(repo, revision=revision, cache_dir=cache, allow_patterns=_OWN)
    except (OSError, ValueError) as error:
        why = "is not cached, and HF_HUB_OFFLINE forbids a download" if offline() else "cannot be downloaded"
        raise ModelError(f"{name} {why}: {error}") from error
    return Path(folder)


def variant_of(folder: Path, unused: Collection[str] = ()) -> str | None:
    """The variant that a model's weights are saved in, such as fp16; None where every part has plain ones.

    Args:
        folder: the model, with its `model_index.json`.
        unused: parts that are never loaded.

    Raises:
        ModelError: parts have weights in different variants only.
    """
    variants = {part: _variants(files) for part, files in _parts(folder, unused).items()}
    lacking = {part: found for part, found in variants.items() if found and None not in found}
    if not lacking:
        return None
    common = set.intersection(*lacking.values())
    if not common:
        said = ", ".join(f"{part} in {' and '.join(sorted(map(str, found)))}" for part, found in lacking.items())
        raise ModelError(f"{folder}: its parts have no variant of their weights in common: {said}")
    return min(common, key=str)


def _variants(files: Collection[Path]) -> set[str | None]:
    """Of a part's safetensors files; None is the plain one. model.fp16-00001-of-00002.safetensors is one of fp16."""
    found = (_WEIGHTS.fullmatch(path.name) for path in files)
    return {match["variant"] for match in found if match}


def _parts(folder: Path, unused: Collection[str]) -> dict[str, list[Path]]:
    """The files of each part that is loaded."""
    index = json.loads((folder / INDEX_NAME).read_text())
    named = sorted(path for path in folder.iterdir() if path.is_dir() and path.name in index.keys() - set(unused))
    return {path.name: sorted(file for file in path.iterdir() if file.is_file()) for path in named}


def refuse_pickles(folder: Path, unused: Collection[str] = ()) -> None:
    """Refuse a model that has a part with pickled weights only: loading a pickle runs whatever code is in it.

    Args:
        folder: the model, with its `model_index.json`.
        unused: parts that are never loaded.

    Raises:
        ModelError: names the file and says what to do.
    """
    for part, files in _parts(folder, unused).items():
        pickled = [path for path in files if path.suffix in _PICKLED]
        if pickled and not any(path.suffix == ".safetensors" for path in files):
            raise ModelError(
                f"{folder}: {part}/{pickled[0].name} is a pickle, and loading one runs the code in it; only "
                "safetensors are loaded. Convert it with save_pretrained(..., safe_serialization=True)"
            )


def require_readers(folder: Path, unused: Collection[str] = ()) -> None:
    """Make sure that there is a library for each tokenizer: transformers would complain of another one.

    Args:
        folder: the model, with its `model_index.json`.
        unused: parts that are never loaded.

    Raises:
        ModelError: names the file and what to install.
    """
    for part, files in _parts(folder, unused).items():
        names = {path.name for path in files}
        pieces = sorted(names.intersection(_PIECES))
        if pieces and "tokenizer.json" not in names and not all(map(_is_installed, _PIECES_NEED)):
            raise ModelError(
                f"{folder}: {part}/{pieces[0]} has no tokenizer.json beside it, and to read it takes two libraries "
                "that is not installed: pip install sentencepiece protobuf"
            )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it is in
        return False
