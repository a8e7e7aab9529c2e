"""`pacer schedules`: search schedules for a model, and show those that the registry has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType

import typer
from typer.core import TyperCommand, TyperGroup

from pacer.settings import Settings

COMMANDS: Mapping[str, str] = MappingProxyType({
    "list": "workers.lab.listing:list_schedules",
    "show": "workers.lab.show_cli:show",
    "export": "workers.lab.export:export",
    "search": "workers.lab.search_cli:search",
    "bench": "workers.lab.bench_cli:bench",
    "verify": "workers.lab.verify:verify",
    "measure": "workers.lab.remeasure:measure",
    "prompts": "workers.lab.prompt_cli:prompts",
    "splices": "workers.lab.splice_cli:splices",
})  # fmt: skip
"""Where each command lies; loaded when it is called, as most of them need torch, which takes seconds to import."""


class _Commands(TyperGroup):
    """The commands, each loaded when it is asked for."""

    def list_commands(self, ctx: object) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | None:
        del ctx
        return _loaded(cmd_name) if cmd_name in COMMANDS else None


app = typer.Typer(
    name="schedules", cls=_Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
)  # fmt: skip


@app.callback()
def schedules() -> None:
    """Search and show schedules."""


def _loaded(name: str) -> TyperCommand:
    module, _, function = COMMANDS[name].partition(":")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(getattr(import_module(module), function))
    command = typer.main.get_command(alone)
    if not isinstance(command, TyperCommand):
        raise TypeError(f"{COMMANDS[name]}: is no single command; this is a bug")
    return command


def main(settings: Settings, arguments: Sequence[str]) -> int:
    """Run `pacer schedules` with its arguments; 0 when all went well, 130 when interrupted.

    Raises:
        ValueError: an argument that is not possible; the message names it.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), "pacer schedules", standalone_mode=False, obj=settings)
    except typer.Abort:
        typer.echo("interrupted; the same command with --resume goes on", err=True)
        return 130
    return code if isinstance(code, int) else 0
