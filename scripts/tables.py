"""The tables of the documentation, written from the code they describe: `python -m scripts.tables`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from pacer.settings import Settings
from schedules.artefact import Schedule
from schedules.evidence import Evidence
from schedules.registry import Registry

ROOT = Path(__file__).parents[1]


def settings_rows() -> Iterator[str]:
    """One Markdown row per setting: variable, default, limits, meaning."""
    yield "| variable | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for name, field in Settings.model_fields.items():
        yield f"| `PACER_{name.upper()}` | {_default(field)} | {_allowed(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "unset"
    return f"`{value if isinstance(value, str | Path) else json.dumps(value)}`"


def _allowed(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name):,}"
        for limit in field.metadata
        for name, sign in signs.items()
        if hasattr(limit, name)
    ]
    values = getattr(field.annotation, "__args__", ())
    if not limits and values and all(isinstance(value, str) for value in values):
        return ", ".join(f"`{value}`" for value in values)
    return ", ".join(limits)


_SHOWN_STEPS = (2, 4, 5, 6, 8, 10, 12, 16, 20)


def quality_rows() -> Iterator[str]:
    """One Markdown row per step budget of shapes-64: PSNR to the teacher by schedule, from the shipped evidence."""
    columns = _columns()
    yield f"| steps | {' | '.join(columns)} |"
    yield "|--:" * (1 + len(columns)) + "|"
    for steps in _SHOWN_STEPS:
        figures = [column.get(steps) for column in columns.values()]
        best = max(figure for figure in figures if figure is not None)
        yield f"| {steps} | {' | '.join(_cell(figure, best) for figure in figures)} |"


def _columns() -> dict[str, dict[int, float]]:
    """By heading: mean PSNR by step budget, what others have first."""
    plain = (schedule for schedule in Registry.load().schedules("shapes-64") if schedule.variant is None)
    schedules = {schedule.solver: schedule for schedule in plain}
    learned = schedules.pop("learned")
    euler, ours = schedules["euler"], sorted(schedules.values(), key=lambda schedule: schedule.order)
    columns = {f"Euler, {name}": _baseline(euler, name) for name in ("uniform", "shift3")}
    columns["dpmpp-2m, shift3"] = _baseline(schedules["dpmpp-2m"], "shift3")
    columns |= {
        name.replace(" ", ", "): _baseline(learned, name) for name in ("ab2 shift2", "ab3 shift2", "unipc-2 shift3")
    }
    columns |= {f"{schedule.solver}, Pacer's grid": _own(schedule) for schedule in ours}
    return {**columns, "Pacer's grid and coefficients": _own(learned)}


def _baseline(schedule: Schedule, name: str) -> dict[int, float]:
    return {steps: evidence.baselines_psnr_db[name].mean for steps, evidence in _evidences(schedule)}


def _own(schedule: Schedule) -> dict[int, float]:
    return {steps: evidence.psnr_db.mean for steps, evidence in _evidences(schedule)}


def _evidences(schedule: Schedule) -> Iterator[tuple[int, Evidence]]:
    return ((entry.steps, entry.evidence) for entry in schedule.entries if entry.evidence is not None)


def _cell(figure: float | None, best: float) -> str:
    if figure is None:
        return ""
    return f"**{figure:.1f}**" if figure == best else f"{figure:.1f}"


TABLES = {"settings": (ROOT / "docs" / "settings.md", settings_rows), "quality": (ROOT / "README.md", quality_rows)}
"""Name of a table to its page and its rows; in the page it follows the line <!-- table: NAME -->."""


def with_table(text: str, name: str, rows: Iterable[str]) -> str:
    """The page with the lines of one table replaced.

    Raises:
        ValueError: the page has no such table.
    """
    lines = text.splitlines()
    first = lines.index(f"<!-- table: {name} -->") + 1
    last = next((i for i in range(first, len(lines)) if not lines[i].startswith("|")), len(lines))
    return "\n".join([*lines[:first], *rows, *lines[last:]]) + "\n"


def main() -> int:
    """Write every table into its page."""
    for name, (page, rows) in TABLES.items():
        page.write_text(with_table(page.read_text(), name, rows()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
