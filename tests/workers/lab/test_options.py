"""A command that takes its options as one dataclass, called as a person would call it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer

from workers.lab.options import Batch, RegistryFolder, takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    order: Annotated[Literal["first", "last"], typer.Option(help="What comes before.")] = "first"
    most_rows: Batch = 8
    registry: RegistryFolder = None
    fresh: Annotated[bool, typer.Option("--fresh", help="Anew.")] = False

    def __post_init__(self) -> None:
        if self.most_rows < 1:
            raise ValueError(f"most_rows: must be at least 1, is {self.most_rows}")


def run(*arguments: str) -> list[Wanted]:
    seen: list[Wanted] = []
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    @takes(Wanted)
    def command(context: typer.Context, options: Wanted) -> None:
        """Do it."""
        assert context.info_name
        seen.append(options)

    app(list(arguments), standalone_mode=False)
    return seen


def test_options_are_those_of_the_dataclass() -> None:
    named = run("--most-rows=3", "--registry=there", "--fresh", "--order=last")
    assert named == [Wanted(order="last", most_rows=3, registry=Path("there"), fresh=True)]


def test_what_is_not_named_is_as_the_dataclass_has_it() -> None:
    assert run() == [Wanted()]


def test_what_the_dataclass_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="most_rows: must be at least 1, is 0"):
        run("--most-rows=0")


@pytest.mark.parametrize("argument", ["--oder=last", "--order=middle", "--most-rows=many", "last"])
def test_what_is_no_option_or_no_value_of_it_is_refused(argument: str) -> None:
    with pytest.raises(Exception, match=r"No such option|is not one of|valid integer|extra argument"):
        run(argument)


def test_help_says_what_each_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == []
    told = " ".join(capsys.readouterr().out.split())
    assert "Do it." in told
    assert "--order <first|last> What comes before. [default: first]" in told
    assert "--most-rows <int> Most rows in one call of the network. [default: 8]" in told
    assert "--fresh Anew." in told
    assert "options" not in told.partition("Options:")[2]
