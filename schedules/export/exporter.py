"""From an entry of the registry to what another program takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from schedules.artefact import Entry, Schedule
from schedules.export.a1111 import export_a1111
from schedules.export.comfyui import export_comfyui
from schedules.export.diffusers_snippet import export_diffusers
from schedules.export.json_file import export_json
from schedules.export.parts import Export

Target = Literal["diffusers", "comfyui", "a1111", "json"]
TARGETS: Mapping[Target, Callable[[Schedule, Entry], Export]] = MappingProxyType(
    {"diffusers": export_diffusers, "comfyui": export_comfyui, "a1111": export_a1111, "json": export_json}
)
"""The exporters by target; a1111 is for Forge as well."""


def export(schedule: Schedule, entry: Entry, target: Target) -> Export:
    """Write an entry in a target's convention.

    Raises:
        ExportError: the target cannot run it as it was searched; the message says why and what can.
    """
    return TARGETS[target](schedule, entry)
