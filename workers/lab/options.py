"""The options that commands of `pacer schedules` share, and commands that take theirs as one dataclass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, TypeVar, get_type_hints

import typer

DATA = Path("data/lab")
"""Where teachers and results are kept by default."""

ArtefactId = Annotated[str, typer.Argument(help="MODEL/SOLVER[@VARIANT], such as shapes-64/learned.")]
EntryId = Annotated[str, typer.Argument(help="MODEL/SOLVER[@VARIANT]/STEPS, such as shapes-64/euler/6.")]
Guidance = Annotated[float | None, typer.Option(help="Guidance scale; the model's own by default.")]
TeacherSteps = Annotated[int, typer.Option(help="The teacher's Euler steps.")]
Batch = Annotated[int, typer.Option(help="Most rows in one call of the network.")]
PromptFile = Annotated[Path | None, typer.Option(help="Prompts, one a line, for models but shapes-64.")]
RegistryFolder = Annotated[Path | None, typer.Option(help="A registry folder that comes before the shipped one.")]
OutFolder = Annotated[Path, typer.Option(help="Registry folder to write to.", show_default="the shipped one")]
DataFolder = Annotated[Path, typer.Option(help="Where teachers and results are kept.")]

_Options = TypeVar("_Options")
_Written = Callable[[typer.Context, _Options], None]
_CONTEXT = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)


def takes(kind: Callable[..., _Options]) -> Callable[[_Written[_Options]], Callable[..., None]]:
    """Give a command one dataclass in place of an argument for each option.

    Args:
        kind: the dataclass; each field is annotated as an option, and has its default.
    """

    def decorate(command: _Written[_Options]) -> Callable[..., None]:
        @wraps(command)
        def run(context: typer.Context, **given: object) -> None:
            command(context, kind(**given))

        # Where typer reads what options there are.
        run.__dict__["__signature__"] = Signature([_CONTEXT, *_parameters(kind)])
        return run

    return decorate


def _parameters(kind: Callable[..., object]) -> Iterator[Parameter]:
    annotations = get_type_hints(kind, include_extras=True)
    for name, parameter in signature(kind).parameters.items():
        yield parameter.replace(annotation=annotations[name])
