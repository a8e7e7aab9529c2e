"""Show a comparison: a table in the terminal, and a picture of quality against evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from workers.lab.comparing.listed import KINDS, Kind
from workers.lab.comparing.rows import Row
from workers.lab.comparing.searches import PLACED
from workers.lab.show import FORMATS

_COLOURS: dict[Kind, str] = {
    "grid": "#6b7280", "stock": "#1d4ed8", "published": "#0f766e", "search": "#7c3aed", "pacer": "#c2410c",
}  # fmt: skip
_FAINT = "#d1d5db"
_FILE_WIDTH = 200


def print_rows(rows: Sequence[Row], console: Console, title: str) -> None:
    """Methods down, steps across, PSNR over half its interval in the cells; the nearest to the best first.

    Methods that place guidance are left to the other table: a step of theirs is not a step of the others.
    """
    rows = [row for row in rows if row.method != PLACED]
    if not rows:
        return
    budgets = sorted({row.steps for row in rows})
    scored = any(row.task_score is not None for row in rows)
    table = Table("method", "kind", "solver", title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in (*map(str, budgets), "search evaluations", "search s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in ranked(rows):
        own = {row.steps: row for row in rows if row.method == name}
        first = next(iter(own.values()))
        cells = [_cell(own.get(budget), scored=scored) for budget in budgets]
        kind = first.kind if first.servable else f"{first.kind}, lab only"
        table.add_row(name, kind, first.solver, *cells, *_cost(first))
    wide = _wide(console)
    wide.print(table)
    wide.print("by steps: PSNR dB, half its 95 % interval, median latent MSE" + (", task score" if scored else ""))


def print_evaluations(rows: Sequence[Row], console: Console) -> None:
    """The second table: methods down, evaluations of the network for one image across, PSNR in the cells."""
    columns = sorted({row.evaluations for row in rows})
    table = Table(
        "method", title="by network evaluations: PSNR dB", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0)
    )
    for count in columns:
        table.add_column(f"{count:g}", justify="right", no_wrap=True)
    for name in ranked(rows):
        own = {row.evaluations: row.psnr_db for row in rows if row.method == name}
        table.add_row(name, *(f"{own[count]:.2f}" if count in own else "" for count in columns))
    _wide(console).print(table)


def _wide(console: Console) -> Console:
    """A file or a pipe has no width of its own; a table that wraps there would be no table."""
    return console if console.is_terminal else Console(file=console.file, width=max(console.width, _FILE_WIDTH))


def ranked(rows: Sequence[Row]) -> list[str]:
    """Method names, the best first: by the mean gap in dB to the best row that is no dearer."""
    counts = {row.evaluations for row in rows}
    best = {count: max(row.psnr_db for row in rows if row.evaluations <= count) for count in counts}
    gaps: dict[str, list[float]] = {}
    for row in rows:
        gaps.setdefault(row.method, []).append(best[row.evaluations] - row.psnr_db)
    return sorted(gaps, key=lambda name: float(np.mean(gaps[name])))


def _cell(row: Row | None, *, scored: bool) -> str:
    if row is None:
        return ""
    half = (row.psnr_db_hi - row.psnr_db_lo) / 2
    score = f"\n{row.task_score:.3f}" if scored and row.task_score is not None else ""
    return f"{row.psnr_db:.2f}\n[dim]±{half:.2f}\n{row.latent_mse_median:.1e}[/dim]{score}"


def _cost(row: Row) -> tuple[str, str]:
    evaluations = "?" if row.search_evaluations is None else f"{row.search_evaluations:,}"
    return evaluations, "?" if row.search_seconds is None else f"{row.search_seconds:.0f}"


def plot_rows(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw quality against evaluations: the best two of each kind named, the others faint behind them.

    Args:
        rows: of one comparison.
        path: the picture, PNG or SVG by its ending.
        title: above it.

    Raises:
        ValueError: another ending.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"picture: must end in {' or '.join(FORMATS)}, is {path.name!r}")
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    styles = _styles(rows)
    for name in ranked(rows)[::-1]:
        _draw(axes, [row for row in rows if row.method == name], styles.get(name))
    axes.set_title(title, loc="left")
    axes.set(xlabel="evaluations of the network for one image", ylabel="PSNR to the teacher, dB")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _styles(rows: Sequence[Row]) -> dict[str, str]:
    """How the best two methods of each kind are drawn: the best with a whole line, the second dashed."""
    order = ranked(rows)
    kinds = {row.method: row.kind for row in rows}
    best = [[name for name in order if kinds[name] == kind][:2] for kind in KINDS]
    return {name: style for names in best for name, style in zip(names, ("-", "--"), strict=False)}


def _draw(axes: Axes, rows: Sequence[Row], style: str | None) -> None:
    rows = sorted(rows, key=lambda row: row.evaluations)
    evaluations, psnr = [row.evaluations for row in rows], [row.psnr_db for row in rows]
    if style is None:
        axes.plot(evaluations, psnr, color=_FAINT, linewidth=0.8, zorder=1)
        return
    kind = rows[0].kind
    low, high = [row.psnr_db_lo for row in rows], [row.psnr_db_hi for row in rows]
    axes.fill_between(evaluations, low, high, color=_COLOURS[kind], alpha=0.12, linewidth=0, zorder=2)
    axes.plot(
        evaluations, psnr, style, marker="o", color=_COLOURS[kind], markersize=3.5,
        linewidth=2.2 if kind == "pacer" else 1.3, zorder=4 if kind == "pacer" else 3,
        label=rows[0].method if rows[0].method == kind else f"{rows[0].method} ({kind})",
    )  # fmt: skip
