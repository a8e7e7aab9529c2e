"""The table that is printed, and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.serving.results import Results, Row

_ALIKE = 1
"""Levels of 255 by which a picture may differ from the stock pipeline's."""


def print_report(results: Results, console: Console) -> None:
    """All rows, what was skipped, and the figures with a bar."""
    console.print(_loads_table(results.rows))
    console.print(_bursts_table(results.rows))
    for label, why in results.skipped.items():
        console.print(f"[bold red]SKIPPED {label}[/]: {why}", soft_wrap=True)
    for row in results.rows:
        if "failed" in row:
            console.print(f"[bold red]FAILED {_label(row)}[/]: {row['failed']}", soft_wrap=True)
        elif row["server"] != "pacer-learned" and row["worst_level_difference"] > _ALIKE:
            levels = row["worst_level_difference"]
            console.print(f"[bold red]OTHER PICTURES {_label(row)}[/]: {levels} levels from the stock pipeline's")
    console.print(_ratios_table(results.ratios))


def _label(row: Row) -> str:
    return row["server"] if row["policy"] is None else f"{row['server']} ({row['policy']})"


def _loads_table(rows: Sequence[Row]) -> Table:
    table = Table(title="open loop; latencies in seconds, of 4-step requests mean, of all p50, p95, p99")
    for column in (
        "load",
        "server",
        "offered/s",
        "goodput/s",
        "in time",
        "done/s",
        "4 steps",
        "p50",
        "p95",
        "p99",
        "MiB",
    ):
        table.add_column(column, justify="left" if column == "server" else "right")
    last = None
    for row in sorted(rows, key=lambda row: (row["load"] or 0, -row.get("goodput_per_s", 0))):
        if row["kind"] != "load" or "failed" in row:
            continue
        if last not in (None, row["load"]):
            table.add_section()
        last = row["load"]
        short = row["by_steps"].get("4")
        latency = row["latency_s"]
        table.add_row(
            f"{row['load']:g}", _label(row), f"{row['offered_per_s']:.2f}", f"{row['goodput_per_s']:.2f}",
            f"{row['in_time_share']:.0%}", f"{row['throughput_per_s']:.2f}",
            "" if short is None else f"{short['latency_s']['mean']:.3f}",
            *(f"{latency[name]:.2f}" for name in ("p50", "p95", "p99")), f"{row['peak_memory_mb']:.0f}",
        )  # fmt: skip
    return table


def _bursts_table(rows: Sequence[Row]) -> Table:
    table = Table(title="saturation: all requests at once")
    for column in ("server", "requests", "drawn", "pictures/s", "MiB"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for row in rows:
        if row["kind"] == "burst" and "failed" not in row:
            drawn = row["states"].get("drawn", 0)
            done = f"{row['throughput_per_s']:.2f}"
            table.add_row(_label(row), str(row["arrivals"]), str(drawn), done, f"{row['peak_memory_mb']:.0f}")
    return table


def _ratios_table(ratios: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Pacer against the best peer")
    for column in ("figure", "pacer", "best peer", "which", "ratio", "bar", ""):
        table.add_column(column, justify="left" if column in ("figure", "which") else "right")
    for one in ratios:
        known = one["ratio"] is not None
        told = {True: "[green]met[/]", False: "[red]missed[/]", None: "unknown"}[one["met"]]
        if one["met"] is False and one.get("asked") is not None:
            told += f"; {one['pacer'] / one['asked']:.0%} of what was asked"
        sign = ">=" if one["at"] == "least" else "<="
        numbers = [f"{one[name]:.3f}" if one[name] is not None else "" for name in ("pacer", "best_peer")]
        ratio = f"{one['ratio']:.2f}" if known else ""
        table.add_row(one["figure"], *numbers, one["peer"] or "", ratio, f"{sign} {one['bar']:.2f}", told)
    return table


def draw_picture(results: Results, path: Path) -> None:
    """Goodput, and the mean latency of 4-step requests, against the offered load."""
    rows = [row for row in results.rows if row["kind"] == "load" and "failed" not in row]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for label in dict.fromkeys(_label(row) for row in rows):
        own = sorted((row for row in rows if _label(row) == label), key=lambda row: float(row["offered_per_s"]))
        style = {"marker": "o", "markersize": 4, "label": label, "linewidth": 2.4 if label.startswith("pacer") else 1.2}
        left.plot([row["offered_per_s"] for row in own], [row["goodput_per_s"] for row in own], **style)
        short = [row for row in own if "4" in row["by_steps"]]
        means = [row["by_steps"]["4"]["latency_s"]["mean"] for row in short]
        right.plot([row["offered_per_s"] for row in short], means, **style)
    if rows:
        most = max(float(row["offered_per_s"]) for row in rows)
        left.plot([0, most], [0, most], color="0.7", linestyle=":", linewidth=1, zorder=0)
    left.set(xlabel="requests offered per second", ylabel="pictures in time per second", xlim=(0, None), ylim=(0, None))
    right.set(
        xlabel="requests offered per second", ylabel="mean latency of 4-step requests, s", yscale="log", xlim=(0, None)
    )
    left.legend(fontsize=8)
    meta = results.meta
    figure.suptitle(f"{meta['model']}, {meta['hardware']}, {meta['commit']}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
