"""`pacer schedules export`: an entry of the registry in another program's convention."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pacer.settings import Settings
from schedules.export import Target
from schedules.export import export as export_entry
from schedules.registry import Registry
from workers.lab.options import EntryId, RegistryFolder


def export(
    context: typer.Context,
    schedule: EntryId,
    *,
    to: Annotated[Target, typer.Option(help="Whose convention; a1111 is for Forge as well.")],
    out: Annotated[Path | None, typer.Option(help="File to write; stdout by default.")] = None,
    registry: RegistryFolder = None,
) -> None:
    """Write an entry for diffusers, ComfyUI, A1111 or Forge, or as JSON with its whole table."""
    settings: Settings = context.obj
    exported = export_entry(*Registry.load(registry, settings.registry_dir).find(schedule), to)
    for note in exported.notes:
        if note not in exported.text:
            typer.echo(note, err=True)
    if out is None:
        typer.echo(exported.text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(exported.text)
