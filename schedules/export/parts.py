"""What the exporters share: the answer, the refusals, numbers as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schedules.artefact import Entry, Schedule
from schedules.compile import SOLVERS
from schedules.table import FloatArray, Table


class ExportError(ValueError):
    """An entry that a target cannot run as it was searched; the message says why and what can."""


@dataclass(frozen=True, slots=True)
class Export:
    """An entry as a target takes it.

    Attributes:
        text: the file or the line to paste, ending in a newline.
        notes: what its user must know, one sentence each, losses among them.
    """

    text: str
    notes: tuple[str, ...] = ()


def check_sigmas_suffice(schedule: Schedule, entry: Entry, target: str) -> None:
    """Refuse an entry whose table is more than a formula of its sigmas, for targets that take sigmas alone.

    Raises:
        ExportError: the coefficients were learned, or guidance differs from row to row.
    """
    if schedule.solver not in SOLVERS:
        raise refusal(
            schedule,
            entry,
            target,
            f"{schedule.solver!r} is a learned table, and its sigmas under another solver are not",
        )
    table = schedule.table(entry)
    if table.networks:
        raise refusal(schedule, entry, target, "it has rows for a smaller network, and sigmas do not carry that")
    if (table.w != 1).any() or set(table.uncond) != {"fresh"}:
        raise refusal(schedule, entry, target, "its guidance differs from row to row, and sigmas do not carry that")


def refusal(schedule: Schedule, entry: Entry, target: str, reason: str) -> ExportError:
    """The error that says why a target cannot run an entry, and what can."""
    name, scheduler = schedule.entry_id(entry.steps), "clients.diffusers_scheduler.PacerScheduler"
    runs = runs_in_pipelines(schedule.table(entry))
    takers = f"for {scheduler} or the engine" if runs else f"for the engine; {scheduler} does not run such rows either"
    return ExportError(
        f"{name} cannot be exported to {target}: {reason}; export it to json, which carries the whole table, {takers}"
    )


def runs_in_pipelines(table: Table) -> bool:
    """Whether a stock pipeline with PacerScheduler evaluates the rows as the table says, whatever their weights."""
    alike = set(table.uncond) in ({"fresh"}, {"skipped"})
    return alike and not table.networks and table.base == ("noise",)


def decimals(values: FloatArray) -> str:
    """Numbers as plain decimals, comma-separated, each reading back as the same float64.

    No exponents: ComfyUI's ManualSigmas reads 1e-3 as the two numbers 1 and -3.
    """
    return ", ".join(np.format_float_positional(value, trim="-") for value in values)


def title(schedule: Schedule, entry: Entry) -> str:
    """One line on what the numbers are and where they hold."""
    least, most = schedule.valid_for.guidance_scale
    guidance = f"{least:g}" if least == most else f"{least:g} to {most:g}"
    return (
        f"Pacer schedule {schedule.entry_id(entry.steps)}: for these weights (sha256 {schedule.weights_sha256[:12]}), "
        f"{entry.steps} steps, guidance {guidance}."
    )
