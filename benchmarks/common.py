"""What the benchmarks' commands have in common: loads and counts as options, the bar, the JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def loads_option(text: str) -> list[float]:
    """Loads as they are named on the command line, such as 0.5,1,2.

    Raises:
        argparse.ArgumentTypeError: one of them is not above 0.
    """
    loads = [float(part) for part in text.split(",")]
    if not all(load > 0 for load in loads):
        raise argparse.ArgumentTypeError(f"must be above 0, are {text}")
    return loads


def count_option(text: str) -> int:
    """A whole number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, is {text!r}")
    return int(text)


def measuring_bar(console: Console) -> Progress:
    """A bar over measurements of minutes each, with the time spent and left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    return Progress(*columns, console=console, speed_estimate_period=1800)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file in one stroke, so that whatever ends the process leaves a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def write_model(path: Path, what: str, model: str, figures: Mapping[str, Any]) -> None:
    """Write a model's figures into a file that holds those of several, which stay as they are."""
    models = json.loads(path.read_text())["models"] if path.exists() else {}
    write_json(path, {"what": what, "models": models | {model: figures}})
