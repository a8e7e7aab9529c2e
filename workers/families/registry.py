"""The families, a table: pipeline class name in `model_index.json` -> adapter. A new family is one line of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from workers.families.base import Family


class UnknownFamilyError(ValueError):
    """A pipeline class that no adapter serves; the message names those that are served."""


@dataclass(frozen=True, slots=True)
class FamilyEntry:
    """How a family is found; nothing is imported before it is asked for, so that no family can break another.

    Attributes:
        adapter: "module:Class" under `workers.families`; the class takes the loaded stock pipeline.
        optional: components that a model may lack; they are loaded where its folder has them.
        unused: components that the adapter never runs, hence never loaded.
    """

    adapter: str
    optional: frozenset[str] = frozenset()
    unused: frozenset[str] = frozenset()

    def load_adapter(self) -> Callable[[Any], Family]:
        """Import the adapter."""
        module, name = self.adapter.split(":")
        adapter: Callable[[Any], Family] = getattr(import_module(f"workers.families.{module}"), name)
        return adapter


_CHECKER = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_IMAGE_PROMPT = frozenset({"feature_extractor", "image_encoder"})

FAMILIES: Mapping[str, FamilyEntry] = MappingProxyType(
    {
        "StableDiffusion3Pipeline": FamilyEntry(
            "sd3:Sd3Family", optional=frozenset({"text_encoder_3", "tokenizer_3"}), unused=_IMAGE_PROMPT
        ),
        "StableDiffusionPipeline": FamilyEntry("sd15:Sd15Family", unused=_CHECKER),
        "LatentConsistencyModelPipeline": FamilyEntry("sd15:Sd15Family", unused=_CHECKER),
        "StableDiffusionXLPipeline": FamilyEntry("sdxl:SdxlFamily", unused=_IMAGE_PROMPT),
        "PixArtSigmaPipeline": FamilyEntry("pixart_sigma:PixArtSigmaFamily"),
        "SanaPipeline": FamilyEntry("sana:SanaFamily"),
        "FluxPipeline": FamilyEntry("flux:FluxFamily", unused=_IMAGE_PROMPT),
        "Flux2Pipeline": FamilyEntry("flux2:Flux2Family"),
        "Flux2KleinPipeline": FamilyEntry("flux2:Flux2Family"),
        "QwenImagePipeline": FamilyEntry("qwen_image:QwenImageFamily"),
        "ZImagePipeline": FamilyEntry("z_image:ZImageFamily"),
    }
)
"""The stock pipelines that are served, by the class name in their `model_index.json`."""


def family_entry(class_name: str | None) -> FamilyEntry:
    """The entry of a pipeline class.

    Raises:
        UnknownFamilyError: there is none.
    """
    if class_name is None or class_name not in FAMILIES:
        served = ", ".join(FAMILIES)
        raise UnknownFamilyError(f"pipelines of class {class_name!r} are not served; served: {served}")
    return FAMILIES[class_name]
