"""`pacer schedules show`: an entry of the registry, in the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pacer.settings import Settings
from schedules.registry import Registry
from workers.lab.options import DATA, EntryId, RegistryFolder
from workers.lab.show import LocalChange, plot_entry, print_entry


def show(
    context: typer.Context,
    schedule: EntryId,
    *,
    out: Annotated[Path | None, typer.Option(help="Picture to write, .png or .svg; out/<schedule>.png.")] = None,
    teacher: Annotated[bool, typer.Option(help="Run the model for the teacher's curve.")] = True,
    registry: RegistryFolder = None,
    prompts: Annotated[Path | None, typer.Option(help="Prompts of the curve, for models but shapes-64.")] = None,
    data: Annotated[Path, typer.Option(help="Where teachers are kept.")] = DATA,
) -> None:
    """Print an entry of the registry and plot it."""
    settings: Settings = context.obj
    found, entry = Registry.load(registry, settings.registry_dir).find(schedule)
    console = Console()
    print_entry(found, entry, console)
    picture = out or Path("out") / f"{schedule.replace('/', '-')}.png"
    change: LocalChange | None = None
    if teacher:
        from workers.lab.local_change import measure_local_change  # torch takes seconds to import

        change = measure_local_change(found, settings, prompts, data)
    plot_entry(found, entry, picture, change)
    console.print(f"drawn to {picture}")
