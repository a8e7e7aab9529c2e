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


_SHOWN_STEPS = (2, 4, 6, 8, 10, 16, 20)


def quality_rows() -> Iterator[str]:
    """One Markdown row per step budget of shapes-64: each schedule's PSNR to the teacher, from the shipped evidence."""
    schedules = sorted(Registry.load().schedules("shapes-64"), key=lambda schedule: schedule.order)
    euler = next(schedule for schedule in schedules if schedule.solver == "euler")
    baselines = ("uniform", "shift3", "beta")
    yield f"| steps | {' | '.join(f'Euler, {name}' for name in baselines)} | {' | '.join(map(_searched, schedules))} |"
    yield "|--:" * (1 + len(baselines) + len(schedules)) + "|"
    for steps in _SHOWN_STEPS:
        plain = _evidence(euler, steps).baselines_psnr_db
        figures = [plain[name] for name in baselines] + [_evidence(one, steps).psnr_db for one in schedules]
        best = max(figure.mean for figure in figures)
        cells = (f"**{figure.mean:.1f}**" if figure.mean == best else f"{figure.mean:.1f}" for figure in figures)
        yield f"| {steps} | {' | '.join(cells)} |"


def _searched(schedule: Schedule) -> str:
    return f"{schedule.solver}, Pacer"


def _evidence(schedule: Schedule, steps: int) -> Evidence:
    entry = schedule.entry(steps)
    if entry is None or entry.evidence is None:
        raise ValueError(f"{schedule.model}/{schedule.solver}/{steps} is not there, or has no evidence")
    return entry.evidence


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
