"""LoRAs (Hu et al., arXiv 2106.09685) on a model: loaded by the stock pipeline, put on for a call, taken off after it.

A set of LoRAs changes the network for all rows of a call, so requests of different sets never share one. What is off
adds nothing: the layers then give their base's output, to the bit.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import set_weights_and_activate_adapters
from torch import nn

from pacer.errors import PacerError
from pacer.jobs.messages import Lora
from pacer.loras import choose
from workers.device import is_lost

_CHANGES = ("_overwritten_params", "_transformer_norm_layers")
"""What the stock loaders remember on a network where a file has changed its own weights."""

_LONGEST = 300  # of an error's own words, in characters


class LoraError(ValueError):
    """A LoRA that cannot be put on; the message names the field, the file and the reason."""


@dataclass(frozen=True, slots=True)
class LoraFile:
    """One version of one file.

    Attributes:
        path: where it lies.
        written_ns: when it was last written.
        size: in bytes.
    """

    path: Path
    written_ns: int
    size: int

    @classmethod
    def at(cls, path: Path) -> LoraFile:
        """The version that lies there now.

        Raises:
            LoraError: there is none.
        """
        try:
            known = path.stat()
        except OSError as error:
            raise LoraError(f"lora: {path.name} cannot be read ({error.strerror})") from error
        return cls(path, known.st_mtime_ns, known.st_size)


LoraSet = tuple[tuple[LoraFile, float], ...]
"""Files, each with its scale, in the order of their paths; empty is the model itself."""


class Loras:
    """The LoRAs of one model, loaded when they are first needed, the least recently used unloaded first.

    Args:
        pipeline: the stock pipeline whose networks the family runs.
        model: its id.
        folder: with the files that requests may name; None refuses all.
        kept: most LoRAs on the device at once, at least those of one request.
    """

    def __init__(self, pipeline: Any, model: str, folder: Path | None, kept: int) -> None:
        self._pipeline = pipeline
        self._model = model
        self._folder = folder
        self._kept = kept
        self._lock = threading.Lock()
        self._loaded: OrderedDict[LoraFile, str] = OrderedDict()
        self._numbers = itertools.count()
        self._on: LoraSet | None = ()  # None where a failure left it unknown

    @classmethod
    def none(cls) -> Loras:
        """For a model that is offered without any."""
        return cls(None, "this worker", None, 0)

    def find(self, wanted: Sequence[Lora]) -> LoraSet:
        """The files that a request names, as they are now.

        Raises:
            LoraError: one is not offered.
        """
        try:
            paths = choose(wanted, self._folder, self._model)
        except PacerError as error:
            raise LoraError(error.detail) from error
        found = [(LoraFile.at(path), lora.scale) for path, lora in zip(paths, wanted, strict=True)]
        return tuple(sorted(found, key=lambda pair: pair[0].path))

    @contextmanager
    def on(self, chosen: LoraSet) -> Iterator[None]:
        """Inside, the networks are the model's with this set and no other; one thread at a time.

        Raises:
            LoraError: a file is broken, is for another model, or was replaced since it was found.
        """
        if self._folder is None:
            yield
            return
        with self._lock:
            if chosen != self._on:
                self._switch(chosen)
            yield

    def _switch(self, chosen: LoraSet) -> None:
        self._on = None
        names = [self._name(file, {file for file, _ in chosen}) for file, _ in chosen]
        if names:
            self._pipeline.enable_lora()
            self._pipeline.set_adapters(names, [scale for _, scale in chosen])
        elif self._loaded:
            self._pipeline.disable_lora()
        self._on = chosen

    def _name(self, file: LoraFile, needed: set[LoraFile]) -> str:
        """What the networks know a file by, which is loaded if it is not."""
        if file not in self._loaded:
            self._make_room(needed)
            self._loaded[file] = self._load(file)
        self._loaded.move_to_end(file)
        return self._loaded[file]

    def _make_room(self, needed: set[LoraFile]) -> None:
        idle = [file for file in self._loaded if file not in needed]
        surplus = max(0, len(self._loaded) + 1 - self._kept)
        for file in idle[:surplus]:
            self._unload(self._loaded.pop(file))

    def _load(self, file: LoraFile) -> str:
        if LoraFile.at(file.path) != file:
            raise LoraError(f"lora: {file.path.name} was replaced while it was in use; send the request again")
        if not hasattr(self._pipeline, "load_lora_weights"):
            raise LoraError(f"lora: {self._model} takes none; {type(self._pipeline).__name__} has no loader for them")
        name = f"lora_{next(self._numbers)}"
        try:
            self._pipeline.load_lora_weights(
                str(file.path.parent),
                weight_name=file.path.name,
                adapter_name=name,
                use_safetensors=True,
                local_files_only=True,
            )
            self._check_loaded(name)
        except Exception as error:
            if is_lost(error):
                raise
            self._unload(name)
            raise LoraError(f"lora: {file.path.name} cannot be put on {self._model}: {_told(error)}") from error
        for part in self._parts:
            part.eval()
        return name

    def _check_loaded(self, name: str) -> None:
        """The stock loaders pass over what they find nothing for, and some change the network itself."""
        changed = [(part, mark) for part in self._parts for mark in _CHANGES if getattr(part, mark, None)]
        if changed:
            self._pipeline.unload_lora_weights(reset_to_overwritten_params=True)
            self._loaded.clear()
            for part, mark in changed:
                setattr(part, mark, None)
            raise ValueError("it replaces weights of the network (a control LoRA), which would reach other requests")
        if not any(name in names for names in self._pipeline.get_list_adapters().values()):
            raise ValueError("it has no weights for any part of this model")

    def _unload(self, name: str) -> None:
        """Forget a file's weights, wherever they were put; earlier calls that read them may still be under way."""
        if self._pipeline.device.type == "cuda":
            torch.cuda.synchronize(self._pipeline.device)
        for part in self._parts:
            set_weights_and_activate_adapters(part, [], [])
        self._pipeline.delete_adapters(name)

    @property
    def _parts(self) -> list[nn.Module]:
        """The networks that LoRAs are put on."""
        names = self._pipeline._lora_loadable_modules  # noqa: SLF001  nothing public lists them
        return [part for name in names if isinstance(part := getattr(self._pipeline, name, None), nn.Module)]


def _told(error: BaseException) -> str:
    """What first went wrong: loaders may fail again as they tidy up."""
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(str(error).split())[:_LONGEST]
