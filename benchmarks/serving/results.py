"""The file that the measurements are kept in, written anew after each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.common import write_json
from benchmarks.serving.servers import Contestant

Row = dict[str, Any]
Kind = Literal["load", "burst"]

_MAY_DIFFER = frozenset({"date", "deadlines_s", "solo_s"})
"""What a resumed measurement takes from the file, since its rows hang on them."""


class ResumeError(ValueError):
    """A file whose rows cannot stand beside new ones; the message names what differs."""


@dataclass(slots=True)
class Results:
    """All that was measured.

    Attributes:
        path: of the JSON.
        meta: what was measured on what; what the rows have in common.
        rows: one for each measurement.
        skipped: why servers are missing, by their labels.
        ratios: the figures that have a bar.
    """

    path: Path
    meta: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    ratios: list[dict[str, Any]] = field(default_factory=list)

    def find(self, kind: Kind, contestant: Contestant, load: float | None) -> Row | None:
        """A good row of an earlier measurement."""
        wanted = (kind, contestant.server.name, contestant.policy, load)
        return next((row for row in self.rows if key_of(row) == wanted and "failed" not in row), None)

    def add(self, row: Row) -> None:
        """Keep a row in place of an earlier one of the same measurement, and write the file."""
        self.rows = [*(other for other in self.rows if key_of(other) != key_of(row)), row]
        self.write()

    def write(self) -> None:
        """Write the file."""
        content = {"meta": self.meta, "ratios": self.ratios, "skipped": self.skipped, "rows": self.rows}
        write_json(self.path, content)


def key_of(row: Row) -> tuple[Any, ...]:
    """What names a measurement."""
    return (row["kind"], row["server"], row["policy"], row["load"])


def resumed(path: Path, meta: Mapping[str, Any]) -> Results:
    """The results of an earlier run of the same code on the same machine, or empty ones if there was none.

    Raises:
        ResumeError: it was other code, another machine or another workload.
    """
    if not path.exists():
        return Results(path, dict(meta))
    kept = json.loads(path.read_text())
    differing = sorted(_differing(kept["meta"], meta))
    if differing:
        said = "; ".join(f"{name}: {kept['meta'].get(name)!r} there, {meta.get(name)!r} now" for name in differing)
        raise ResumeError(f"{path} cannot be resumed ({said}); without --resume everything is measured anew")
    from_file = {name: kept["meta"][name] for name in _MAY_DIFFER if name in kept["meta"]}
    return Results(path, {**meta, **from_file}, kept["rows"])


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterable[str]:
    return (name for name in {*one, *other} - _MAY_DIFFER if one.get(name) != other.get(name))
