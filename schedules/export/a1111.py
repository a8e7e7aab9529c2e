"""A1111 and Forge: a script of an extension that adds one entry to the list of schedule types."""

from __future__ import annotations

from schedules.artefact import Entry, Schedule
from schedules.export.k_diffusion import A1111_NAMES, sampler_name, start_notes
from schedules.export.parts import Export, decimals, title

_SCRIPT = '''\
"""{title} Sampling method: {sampler}."""

import torch
from modules import sd_schedulers

NAME = "{name}"
STEPS = {steps}
SIGMAS = [{sigmas}]


def schedule(n, sigma_min, sigma_max, device):
    if n != STEPS:
        raise ValueError(f"{{NAME}} is for {{STEPS}} steps, not {{n}}; discarding the next-to-last sigma must be off")
    return torch.tensor(SIGMAS, dtype=torch.float32, device=device)


if NAME not in sd_schedulers.schedulers_map:
    added = sd_schedulers.Scheduler(NAME, NAME, schedule)
    sd_schedulers.schedulers.append(added)
    sd_schedulers.schedulers_map[NAME] = added
'''


def export_a1111(schedule: Schedule, entry: Entry) -> Export:
    """A Python file for extensions/<any name>/scripts/; the schedule type then stands in the list by the entry's id.

    Its function gives N + 1 sigmas for n = N steps, the convention of these programs, and refuses any other n.

    Raises:
        ExportError: these programs have no sampler that is the entry's solver, or its table is learned.
    """
    sampler = sampler_name(schedule, entry, "a1111", A1111_NAMES)
    text = _SCRIPT.format(
        title=title(schedule, entry),
        sampler=sampler,
        name=f"Pacer {schedule.entry_id(entry.steps)}",
        steps=entry.steps,
        sigmas=decimals(entry.sigma_array()),
    )
    place = f"Save as extensions/pacer/scripts/<name>.py; sampling method: {sampler}."
    return Export(text, (place, *start_notes(schedule, entry)))
