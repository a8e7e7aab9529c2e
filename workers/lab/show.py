"""Show an entry: its noise levels and evidence in the terminal, its curve over the teacher's in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console, Group
from rich.table import Table

from schedules import evidence
from schedules.artefact import Entry, Schedule
from schedules.coordinates import flow_levels
from schedules.grids import GRIDS
from schedules.table import FloatArray
from schedules.vp_grids import VP_GRIDS

FORMATS = (".png", ".svg")
_COMPARED, _COMPARED_VARIANCE_PRESERVING = ("uniform", "shift3"), ("trailing", "karras")
_INK, _ACCENT, _FAINT = "#222222", "#c2410c", "#9ca3af"


@dataclass(frozen=True, eq=False)
class LocalChange:
    """How fast the teacher's velocity turns.

    Attributes:
        sigmas: noise levels of the flow, shape (n,).
        change: RMS of dv/dsigma over seeds and elements, shape (n,).
    """

    sigmas: FloatArray
    change: FloatArray


def print_entry(schedule: Schedule, entry: Entry, console: Console) -> None:
    """Print an entry's levels, its evidence and where it comes from."""
    made = schedule.provenance
    console.print(f"[bold]{schedule.entry_id(entry.steps)}[/bold]  {made.method}, {made.date}, {made.code_version}")
    parts = [_levels(entry.sigma_array())]
    if entry.evidence is not None:
        parts.append(_evidence(entry.evidence))
    console.print(Group(*parts))
    console.print(", ".join(f"{name}={value}" for name, value in made.parameters.items()), style="dim")


def _levels(sigmas: FloatArray) -> Table:
    table = Table("step", "sigma", "log10 sigma", "gap", title="noise levels", title_justify="left")
    for step, sigma in enumerate(sigmas):
        log = f"{np.log10(sigma):.3f}" if sigma > 0 else "-inf"
        gap = f"{sigma - sigmas[step + 1]:.4f}" if step + 1 < len(sigmas) else ""
        table.add_row(str(step), f"{sigma:.6f}", log, gap)
    return table


def _evidence(found: evidence.Evidence) -> Table:
    title = f"{found.seeds} held-out seeds against {found.teacher_steps} steps"
    table = Table("grid", "PSNR dB", "95 %", title=title, title_justify="left")
    rows: Mapping[str, evidence.Figure] = {"this entry": found.psnr_db, **found.baselines_psnr_db}
    for name, figure in rows.items():
        table.add_row(name, f"{figure.mean:.2f}", f"{figure.low:.2f} to {figure.high:.2f}")
    for each in found.kept_psnr_db:
        table.add_row(f"{100 * each.by:.0f} of 100 pictures", f"{each.least:.2f} or more", "")
    latent = found.latent_mse
    table.add_row("latent MSE", f"{latent.mean:.3g}", f"{latent.low:.3g} to {latent.high:.3g}")
    if found.task_score is not None:
        table.add_row("task score", f"{found.task_score:.3f}", "")
    return table


def plot_entry(schedule: Schedule, entry: Entry, path: Path, change: LocalChange | None = None) -> None:
    """Draw log sigma against the step, and under it where the teacher's velocity turns.

    Args:
        schedule: the artefact.
        entry: of one of its budgets.
        path: the picture, PNG or SVG by its ending.
        change: the teacher's curve; without it the upper panel stands alone.

    Raises:
        ValueError: another ending.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"picture: must end in {' or '.join(FORMATS)}, is {path.name!r}")
    figure = Figure(figsize=(7, 4 if change is None else 6.5), layout="constrained")
    panels = figure.subplots(1 if change is None else 2, 1, squeeze=False)[:, 0]
    _draw_levels(panels[0], schedule, entry)
    panels[0].set_title(schedule.entry_id(entry.steps), loc="left", color=_INK)
    if change is not None:
        own = entry.sigma_array()
        _draw_change(panels[1], own if schedule.noise is None else flow_levels(own), change)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _compared(schedule: Schedule, steps: int) -> dict[str, FloatArray]:
    """Grids to draw beside an entry's levels, in the same sigmas, by name."""
    if schedule.noise is None:
        return {name: GRIDS[name](steps) for name in _COMPARED}
    noise = schedule.noise.schedule()
    return {name: VP_GRIDS[name](steps, noise) for name in _COMPARED_VARIANCE_PRESERVING}


def _draw_levels(axes: Axes, schedule: Schedule, entry: Entry) -> None:
    for name, levels in _compared(schedule, entry.steps).items():
        axes.plot(np.arange(entry.steps), levels[:-1], color=_FAINT, linewidth=1)
        axes.annotate(name, (entry.steps - 1, levels[-2]), color=_FAINT, xytext=(4, 0), textcoords="offset points")
    levels = entry.sigma_array()
    axes.plot(np.arange(entry.steps), levels[:-1], "o-", color=_ACCENT, markersize=4)
    axes.margins(x=0.12)  # room for the names
    axes.set(yscale="log", xlabel="step (the last goes to 0)", ylabel="sigma")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_change(axes: Axes, sigmas: FloatArray, change: LocalChange) -> None:
    axes.plot(change.sigmas, change.change, color=_INK, linewidth=1.5)
    for level in sigmas:
        axes.axvline(level, color=_ACCENT, linewidth=0.8, alpha=0.6)
    axes.invert_xaxis()
    axes.set(xlabel="sigma (lines: this entry's levels)", ylabel="RMS of dv/dsigma, teacher")
