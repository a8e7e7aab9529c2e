"""The figures that have a bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.budget.ways import WAYS

FIRST_COME, SLACK, BUDGET = (way.name for way in WAYS)


def bars_of(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each figure with its bar and whether it is met, as far as the rows go."""
    rows: Sequence[dict[str, Any]] = results["rows"]
    known = {(row["way"], row["load"]): row for row in rows}
    bars = [
        *_goodput(known, SLACK, 1.5, 1.35),
        *_goodput(known, SLACK, 2.0, 1.7),
        *_goodput(known, FIRST_COME, 2.0, 3.0),
    ]
    own = sorted((row for row in rows if row["way"] == BUDGET), key=lambda row: float(row["load"]))
    twice = known.get((BUDGET, 2.0))
    if twice is not None and twice["attainment"] is not None:
        bars.append(_bar("attainment of admitted work at load 2", twice["attainment"], 0.99, least=True))
    if own:
        peak = max(own, key=lambda row: float(row["goodput_per_s"]))
        beyond = [row["goodput_per_s"] for row in own if row["load"] >= peak["load"]]
        bars.append(_bar("goodput beyond its peak, of the peak", min(beyond) / peak["goodput_per_s"], 0.95, least=True))
    bars += [
        _bar(f"latency predicted wrong by, load {row['load']:g}", row["latency_error"], most, least=False)
        for row in own
        for load, most in ((0.5, 0.10), (1.0, 0.20))
        if row["load"] == load and row["latency_error"] is not None
    ]
    bars += [
        _bar(f"goodput simulated wrong by, load {row['load']:g}", _error(row), 0.10, least=False)
        for row in own
        if row.get("simulated_goodput_per_s") is not None
    ]
    judged = results.get("judged")
    if judged and judged["floors_missed_share"] is not None:
        bars.append(_bar("floors missed, measured", judged["floors_missed_share"], 0.02, least=False))
    bars += [
        _bar(f"planning, microseconds, {name}", taken, 100.0, least=False)
        for name, taken in results.get("planner_us", {}).items()
    ]
    return bars


def _goodput(known: Mapping[tuple[str, float], Any], other: str, load: float, least: float) -> list[dict[str, Any]]:
    own, theirs = known.get((BUDGET, load)), known.get((other, load))
    if own is None or theirs is None or not theirs["goodput_per_s"]:
        return []
    ratio = own["goodput_per_s"] / theirs["goodput_per_s"]
    return [_bar(f"goodput at load {load:g}, over that of {other}", ratio, least, least=True)]


def _error(row: Mapping[str, Any]) -> float:
    real = float(row["goodput_per_s"])
    return abs(float(row["simulated_goodput_per_s"]) - real) / real if real else float("inf")


def _bar(figure: str, measured: float, bar: float, *, least: bool) -> dict[str, Any]:
    met = measured >= bar if least else measured <= bar
    return {"figure": figure, "measured": measured, "bar": bar, "at": "least" if least else "most", "met": met}
