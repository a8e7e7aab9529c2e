"""Loading models: a shipped name, a local folder or a hub id becomes an adapter ready to draw."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from pacer.derived_card import SMALLER, smaller_networks
from pacer.models import INDEX_NAME, ModelCard
from pacer.models import load as load_card
from workers.device import is_lost
from workers.families.base import Family
from workers.families.registry import FamilyEntry, UnknownFamilyError, family_entry
from workers.keeping import Keeping, denoiser, denoiser_name
from workers.model_folder import SHIPPED, ModelError, find_folder, refuse_pickles, require_readers, variant_of

__all__ = ["SHIPPED", "LoadedModel", "ModelError", "choose_device", "choose_dtype", "load", "weights_sha256"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device.

    Attributes:
        card: what the gateway knows of it, its id among it.
        folder: where it was loaded from.
        pipeline: the stock pipeline, whose loop and scheduler are never used.
        family: the adapter over its networks.
        dtype: of the network's weights on the device.
        smaller: adapters to the same model with another network in place of its own, by that network's name.
    """

    card: ModelCard
    folder: Path
    pipeline: DiffusionPipeline
    family: Family
    dtype: torch.dtype
    smaller: Mapping[str, Family]

    @property
    def id(self) -> str:
        """The model's id, which its queue and its schedules have."""
        return self.card.id


def choose_device(wish: str) -> torch.device:
    """The torch device that a setting names: auto takes the GPU if there is one.

    Raises:
        ModelError: the device is unknown or not there.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise ModelError(f"device {wish!r} is unknown; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {wish!r} was asked for, but torch sees no GPU; use auto or cpu")
    return device


def choose_dtype(wish: str) -> torch.dtype | None:
    """The dtype that a setting names: float32, float16 or bfloat16; None for auto, which leaves it to `load`."""
    if wish == "auto":
        return None
    dtype: torch.dtype = getattr(torch, wish)
    return dtype


def load(
    name: str,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    keeping: Keeping | None = None,
    cards: Path | None = None,
) -> LoadedModel:
    """Load a model by shipped name, local folder or hub id.

    Args:
        name: what to load; of the hub owner/name or owner/name@revision, downloaded where the cache lacks it.
        device: where to; by default the best there is.
        dtype: of its weights; by default the card's, where it has none float32 on the CPU and for shipped models,
            bfloat16 elsewhere.
        keeping: how its weights are kept; as they are by default.
        cards: folder of cards for hub ids, OWNER--NAME.json, which come before those of the hub.

    Raises:
        ModelError: there is no such model, its family is unknown, or its weights are pickled, missing or unfit.
        CardError: it has no card and none can be derived, or it has a malformed one.
        ValueError: it cannot be kept so on this device.
    """
    device, keeping = device or choose_device("auto"), keeping or Keeping()
    keeping.require(device)
    folder = find_folder(name)
    card = load_card(name, cards)
    stock, entry = _family_of(folder)
    refuse_pickles(folder, entry.unused)
    require_readers(folder, entry.unused)
    variant = variant_of(folder, entry.unused)
    small = device.type == "cpu" or name in SHIPPED
    dtype = dtype or choose_dtype(card.dtype or "auto") or (torch.float32 if small else torch.bfloat16)
    try:
        pipeline = _stock_pipeline(stock, entry, folder, dtype, variant)
        adapter = entry.load_adapter()
        smaller = {name: _with(pipeline, name, folder) for name in smaller_networks(folder)}
        for other in smaller.values():
            keeping.place_network(denoiser(other), device)
        pipeline = keeping.place(pipeline, device)
        family, families = adapter(pipeline), {name: adapter(other) for name, other in smaller.items()}
    except (OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        if is_lost(error):
            raise
        kept = f", quantised as {card.quantization}," if card.quantization else ""
        raise ModelError(f"{name}{kept} cannot be loaded: {error}") from error
    return LoadedModel(card, folder, pipeline, family, dtype, families)


def _stock_pipeline(
    stock: type[DiffusionPipeline], entry: FamilyEntry, folder: Path, dtype: torch.dtype, variant: str | None
) -> DiffusionPipeline:
    """The pipeline as diffusers loads it, in silence and without the parts that are not there or not used."""
    missing = dict.fromkeys(entry.unused | {part for part in entry.optional if not (folder / part).is_dir()})
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    pipeline: DiffusionPipeline = stock.from_pretrained(
        folder, dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True, **missing
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _with(pipeline: DiffusionPipeline, name: str, folder: Path) -> DiffusionPipeline:
    """The pipeline with one of the model's smaller networks, all other parts shared."""
    own = denoiser(pipeline)
    network = type(own).from_pretrained(
        folder / SMALLER / name, torch_dtype=own.dtype, use_safetensors=True, local_files_only=True
    )
    other = copy.copy(pipeline)
    setattr(other, denoiser_name(pipeline), network)
    return other


def _family_of(folder: Path) -> tuple[type[DiffusionPipeline], FamilyEntry]:
    """The stock pipeline class that a folder was saved from, and how it is adapted."""
    index = folder / INDEX_NAME
    if not index.is_file():
        raise ModelError(f"no model at {folder}: it has no {INDEX_NAME}; shipped models: {', '.join(SHIPPED)}")
    class_name = json.loads(index.read_text()).get("_class_name")
    try:
        entry = family_entry(class_name)
    except UnknownFamilyError as error:
        raise ModelError(f"{folder}: {error}") from error
    return getattr(diffusers, class_name), entry


def weights_sha256(folder: Path) -> str:
    """Hash of a model's weights, hex: of the names and contents of all its safetensors files.

    Those of its smaller networks are not among them: each has a hash of its own, that of its folder.
    """
    total = hashlib.sha256()
    apart = folder / SMALLER
    for path in sorted(path for path in folder.rglob("*.safetensors") if not path.is_relative_to(apart)):
        total.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
