"""ComfyUI: the line of sigmas that its ManualSigmas node reads, N + 1 plain decimals."""

from __future__ import annotations

from schedules.artefact import Entry, Schedule
from schedules.export.k_diffusion import COMFYUI_NAMES, sampler_name, start_notes
from schedules.export.parts import Export, decimals, title


def export_comfyui(schedule: Schedule, entry: Entry) -> Export:
    """The sigmas as one line, the last (0) included; they are final, so no shift may follow.

    Raises:
        ExportError: ComfyUI has no sampler that is the entry's solver, or its table is learned.
    """
    sampler = sampler_name(schedule, entry, "comfyui", COMFYUI_NAMES)
    notes = (
        title(schedule, entry),
        f"Paste into ManualSigmas and sample with SamplerCustom and KSamplerSelect: {sampler}.",
        *start_notes(schedule, entry),
    )
    return Export(decimals(entry.sigma_array()) + "\n", notes)
