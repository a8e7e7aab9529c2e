"""`pacer schedules list`: what the registry has."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pacer.settings import Settings
from schedules.artefact import Schedule
from schedules.registry import Registry
from workers.lab.options import RegistryFolder

_FILE_WIDTH = 120


def list_schedules(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    registry: RegistryFolder = None,
) -> None:
    """List the artefacts of the registry: their budgets, their guidance, their quality."""
    settings: Settings = context.obj
    known = Registry.load(registry, settings.registry_dir)
    if model is not None and model not in known.models():
        raise ValueError(f"no schedules for model {model!r}; there are some for {', '.join(known.models())}")
    table = Table("schedule", "steps", "evaluations", "guidance", "PSNR, dB", "served")
    for schedule in known.artefacts if model is None else known.schedules(model):
        table.add_row(*_row(schedule))
    console = Console()
    # A file or a pipe has no width of its own; a table that wraps there would be no table.
    wide = console if console.is_terminal else Console(width=max(console.width, _FILE_WIDTH))
    wide.print(table)


def _row(schedule: Schedule) -> tuple[str, ...]:
    steps = [entry.steps for entry in schedule.entries]
    guided = [schedule.network_evaluations(entry, guidance_scale=2.0) for entry in schedule.entries]
    known = [entry.evidence.psnr_db.mean for entry in schedule.entries if entry.evidence is not None]
    low, high = schedule.valid_for.guidance_scale
    quality = _span(min(known), max(known), ".1f") if known else "unknown"
    spans = _span(min(steps), max(steps)), _span(min(guided), max(guided)), _span(low, high)
    return f"{schedule.model}/{schedule.solver_id}", *spans, quality, "yes" if schedule.servable else "no"


def _span(low: float, high: float, form: str = "g") -> str:
    return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}"
