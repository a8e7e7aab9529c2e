"""The tables that are printed, and the picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.budget.ways import WAYS

_COLUMNS = (
    "load",
    "way",
    "offered/s",
    "goodput/s",
    "simulated",
    "attained",
    "p50 s",
    "p95 s",
    "p99 s",
    "steps",
    "latency off by",
    "within p95",
)


def print_report(results: Mapping[str, Any], console: Console) -> None:
    """All rows, the measured quality, and the figures with a bar."""
    table = Table(title="open loop; goodput is pictures a second in time that reach their floor")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "way" else "right")
    for row in results["rows"]:
        latency = row["latency_s"] or {}
        table.add_row(
            f"{row['load']:g}", row["way"], f"{row['offered_per_s']:.2f}", f"{row['goodput_per_s']:.2f}",
            _said(row.get("simulated_goodput_per_s"), ".2f"), _said(row["attainment"], ".1%"),
            *(_said(latency.get(name), ".2f") for name in ("p50", "p95", "p99")),
            _said(row["mean_steps"], ".1f"), _said(row["latency_error"], ".1%"),
            _said(row.get("latency_within", {}).get("p95"), ".1%"),
        )  # fmt: skip
    console.print(table)
    for floor in (results["judged"] or {}).get("floors", []):
        missed = "" if floor["missed"] is None else f", missed by {floor['missed']}"
        console.print(
            f"floor {floor['floor']}: {floor['pictures']} of {floor['delivered']} pictures, task score "
            f"{floor['task_share_of_teacher']:.3f} of the teacher's, {floor['psnr_db']:.1f} dB{missed}"
        )
    bars = Table(title="bars")
    for column in ("figure", "measured", "bar", ""):
        bars.add_column(column, justify="left" if column == "figure" else "right")
    for bar in results["bars"]:
        sign = ">=" if bar["at"] == "least" else "<="
        told = "[green]met[/]" if bar["met"] else "[red]missed[/]"
        bars.add_row(bar["figure"], f"{bar['measured']:.3f}", f"{sign} {bar['bar']:g}", told)
    console.print(bars)


def draw_picture(results: Mapping[str, Any], path: Path) -> None:
    """Goodput and the median latency against the offered load."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for way in WAYS:
        rows = sorted((row for row in results["rows"] if row["way"] == way.name), key=lambda row: float(row["load"]))
        offered = [row["offered_per_s"] for row in rows]
        style = {"marker": "o", "markersize": 4, "label": way.name, "linewidth": 1.2 if way.fixed else 2.4}
        left.plot(offered, [row["goodput_per_s"] for row in rows], **style)
        seen = [row for row in rows if row["latency_s"]]
        right.plot([row["offered_per_s"] for row in seen], [row["latency_s"]["p50"] for row in seen], **style)
        if not way.fixed:
            left.plot(offered, [row.get("simulated_goodput_per_s") for row in rows], "k:", label="budget, simulated")
    left.set(
        xlabel="requests offered per second", ylabel="good pictures in time per second", xlim=(0, None), ylim=(0, None)
    )
    right.set(
        xlabel="requests offered per second", ylabel="median latency of pictures, s", yscale="log", xlim=(0, None)
    )
    left.legend(fontsize=8)
    meta = results["meta"]
    figure.suptitle(f"shapes-64, {meta['hardware']}, {meta['commit']}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _said(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
