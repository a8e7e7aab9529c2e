"""Traces as CSV: a header, then one line for each image that is asked for.

`at` is required; an empty cell says nothing of its column, as a field that a request leaves out.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO, TypeVar

from pacer.control.budget_request import BudgetRequest, check_bounds, check_guidance
from pacer.control.simulation.asked import Asked
from pacer.errors import PacerError
from pacer.models import ModelCard, choose

COLUMNS = (
    "at", "model", "steps", "evaluations", "latency_ms", "min_steps", "max_steps", "min_quality", "min_psnr_db",
    "kept_by", "guidance_scale",
)  # fmt: skip
"""What a trace may have; the names are those of the API."""


_Value = TypeVar("_Value", int, float)


class TraceError(ValueError):
    """A trace that is none; the message names the line, the column, what is wrong and what is allowed."""


def read_trace(lines: Iterable[str], cards: Mapping[str, ModelCard], max_steps: int) -> tuple[Asked, ...]:
    """Read and check a trace, as strictly as the gateway reads requests.

    Args:
        lines: of the file, each with its end.
        cards: the models that there are, the default first.
        max_steps: the largest budget allowed.

    Raises:
        TraceError: at the first thing that is wrong.
    """
    reader = csv.reader(lines, strict=True)
    header = next(_rows(reader), None)
    if header is None:
        raise TraceError("the trace is empty; its first line names its columns, `at` among them")
    _check_header(header)
    trace: list[Asked] = []
    for cells in _rows(reader):
        line = reader.line_num
        if len(cells) != len(header):
            raise TraceError(f"line {line}: has {len(cells)} cells, the header {len(header)}")
        row = _Row(line, {name: text.strip() for name, text in zip(header, cells, strict=True) if text.strip()})
        asked = _asked(row, cards, max_steps)
        if trace and asked.at_s < trace[-1].at_s:
            raise row.error("at", f"must not fall; is {asked.at_s:g} after {trace[-1].at_s:g}")
        trace.append(asked)
    if not trace:
        raise TraceError("the trace has a header and no request")
    return tuple(trace)


def write_trace(file: TextIO, trace: Sequence[Asked]) -> None:
    """Write what `read_trace` reads, without the columns that no request uses; seconds to the microsecond."""
    rows = [_cells(asked) for asked in trace]
    used = [name for name in COLUMNS if any(name in row for row in rows)] or ["at"]
    writer = csv.DictWriter(file, used, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Lines with something in them."""
    try:
        yield from (cells for cells in reader if cells)
    except csv.Error as error:
        raise TraceError(f"this is no CSV: {error}") from error


def _check_header(header: Sequence[str]) -> None:
    allowed = ", ".join(COLUMNS)
    for name in header:
        if name not in COLUMNS:
            raise TraceError(f"line 1: no column {name[:80]!r}; there are {allowed}")
        if header.count(name) > 1:
            raise TraceError(f"line 1: column {name!r} is there {header.count(name)} times; once is allowed")
    if "at" not in header:
        raise TraceError("line 1: column 'at' is missing, the seconds from the start at which a request comes")


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: Mapping[str, str]

    def error(self, column: str, detail: str) -> TraceError:
        return TraceError(f"line {self.line}: {column}: {detail}")

    def whole(self, column: str) -> int | None:
        return self._read(column, int, "a whole number")

    def number(self, column: str) -> float | None:
        return self._read(column, _finite, "a number")

    def _read(self, column: str, read: Callable[[str], _Value], what: str) -> _Value | None:
        text = self.cells.get(column)
        if text is None:
            return None
        try:
            return read(text.replace("_", "?"))  # which Python takes within numbers, and nobody else
        except ValueError:
            raise self.error(column, f"must be {what}, is {text[:80]!r}") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _asked(row: _Row, cards: Mapping[str, ModelCard], max_steps: int) -> Asked:
    at_s, latency_ms, scale = row.number("at"), row.number("latency_ms"), row.number("guidance_scale")
    if at_s is None or at_s < 0:
        raise row.error("at", f"must be seconds, 0 or more, is {row.cells.get('at', 'missing')}")
    try:
        card = choose(row.cells.get("model"), cards)
        width, height = card.default_size
        request = BudgetRequest(
            card=card,
            guidance_scale=card.guidance_scale if scale is None else scale,
            width=width,
            height=height,
            steps=row.whole("steps"),
            evaluations=row.whole("evaluations"),
            min_steps=row.whole("min_steps"),
            max_steps=row.whole("max_steps"),
            latency_s=None if latency_ms is None else latency_ms / 1000,
            min_quality=row.number("min_quality"),
            min_psnr_db=row.number("min_psnr_db"),
            kept_by=row.number("kept_by"),
        )
        check_guidance(request)
        check_bounds(request, max_steps)
    except PacerError as error:
        raise TraceError(f"line {row.line}: {error.detail.replace('budget.', '')}") from error
    return Asked(at_s, request)


def _cells(asked: Asked) -> dict[str, str]:
    request = asked.request
    values: dict[str, float | None] = {
        "steps": request.steps,
        "evaluations": request.evaluations,
        "latency_ms": None if request.latency_s is None else round(request.latency_s * 1000, 3),
        "min_steps": request.min_steps,
        "max_steps": request.max_steps,
        "min_quality": request.min_quality,
        "min_psnr_db": request.min_psnr_db,
        "kept_by": request.kept_by,
        "guidance_scale": None if request.guidance_scale == request.card.guidance_scale else request.guidance_scale,
    }
    said = {name: f"{value:.12g}" for name, value in values.items() if value is not None}
    return {"at": f"{asked.at_s:.6f}", "model": request.card.id, **said}
