"""The tables of the documentation, written from the code they describe: `python -m scripts.tables`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from pacer.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"


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


TABLES = {"settings.md": settings_rows}
"""File name in docs/ to the rows of its table."""


def with_table(text: str, rows: Iterator[str]) -> str:
    """The page with its table, from the first line that begins with | to the last one, replaced."""
    lines = text.splitlines()
    inside = [index for index, line in enumerate(lines) if line.startswith("|")]
    return "\n".join([*lines[: inside[0]], *rows, *lines[inside[-1] + 1 :]]) + "\n"


def main() -> int:
    """Write every table into its page."""
    for name, rows in TABLES.items():
        page = DOCS / name
        page.write_text(with_table(page.read_text(), rows()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
