"""What `pacer simulate` found, as tables for a person to read."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from app.simulate import Simulation
from pacer.control.simulation.figures import Figures

_MOST_BUDGETS = 20  # rows; the JSON has all
_LEAST_WIDTH = 140  # characters: a figure that is cut off says nothing, a long line does

_COLUMNS = (
    "offered", "admitted", "refused", "expired", "completed", "in time", "attainment", "p50 s", "p95 s", "p99 s",
    "steps", "dB", "quality",
)  # fmt: skip


def show(simulated: Simulation, console: Console | None = None) -> None:
    """Print a row for each number of workers and, where there is one number only, a row for each budget."""
    console = console or Console(width=max(Console().width, _LEAST_WIDTH))
    fleet = _table("workers", "goodput/s", "busy", *_COLUMNS)
    for run in simulated.runs:
        fleet.add_row(str(run.workers), f"{run.goodput_per_s:.3g}", _percent(run.utilisation), *_cells(run.total))
    console.print(f"{simulated.requests} requests for {simulated.model}")
    console.print(fleet)
    if len(simulated.runs) == 1:
        budgets = simulated.runs[0].budgets
        table = _table("budget", *_COLUMNS)
        for name, figures in list(budgets.items())[:_MOST_BUDGETS]:
            table.add_row(name, *_cells(figures))
        console.print(table)
        if len(budgets) > _MOST_BUDGETS:
            console.print(f"{len(budgets) - _MOST_BUDGETS} further budgets are in the JSON")
    invalid = simulated.runs[0].total.invalid
    if invalid:
        console.print(f"{invalid} requests were wrong in themselves (422): no load, or none, would change that")


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(figures: Figures) -> tuple[str, ...]:
    counts = (figures.offered, figures.admitted, figures.refused, figures.expired, figures.completed, figures.in_time)
    latencies = (figures.latency_p50_s, figures.latency_p95_s, figures.latency_p99_s)
    return (
        *(str(count) for count in counts),
        _percent(figures.attainment),
        *(_number(value, ".2f") for value in latencies),
        _number(figures.mean_steps, ".1f"),
        _number(figures.mean_quality_db, ".1f"),
        _number(figures.mean_quality, ".3f"),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
