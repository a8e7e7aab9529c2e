"""The report of a search: one JSON file, and one HTML page with its pictures inside."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Callable
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schedules.artefact import Entry, Schedule
from schedules.search.rollout import roll_out
from workers.lab.model import Pixels
from workers.lab.native import artefact_sampler
from workers.lab.searching.run import SearchRun

_INK, _ACCENT, _FAINT = "#222222", "#c2410c", "#9ca3af"
_SHOWN_SEEDS, _SHOWN_BUDGETS = 8, (4, 6, 8)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .15rem .8rem; text-align: right; border-bottom: 1px solid #eee }
td:first-child, th:first-child { text-align: left }
.best { color: #c2410c; font-weight: 600 } figure { margin: 2rem 0 } img, svg { max-width: 100%; height: auto }
figcaption, dt { color: #666 } dl { display: grid; grid-template-columns: max-content auto; gap: 0 1rem }
dd { margin: 0; overflow-wrap: anywhere }
"""


def write_report(
    run: SearchRun, schedule: Schedule, path: Path, *, evaluations: int, seconds: float
) -> tuple[Path, Path]:
    """Write both files.

    Args:
        run: the search, for its held-out seeds.
        schedule: what it found.
        path: of the page; the JSON lies beside it under the same name.
        evaluations: forwards of the network in this run.
        seconds: of wall-clock in this run.

    Returns:
        The page and the JSON.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_suffix(".json")
    data.write_text(json.dumps(_figures(schedule, evaluations, seconds), indent=1) + "\n")
    path.write_text(_page(run, schedule, evaluations, seconds))
    return path, data


def _figures(schedule: Schedule, evaluations: int, seconds: float) -> dict[str, Any]:
    return {
        "schedule": f"{schedule.model}/{schedule.solver_id}",
        "provenance": schedule.provenance.model_dump(mode="json"),
        "run": {"evaluations": evaluations, "seconds": round(seconds, 1)},
        "entries": [
            {"steps": entry.steps, "sigmas": list(entry.sigmas), "evidence": _evidence(entry)}
            for entry in schedule.entries
        ],
    }


def _evidence(entry: Entry) -> dict[str, Any] | None:
    return None if entry.evidence is None else entry.evidence.model_dump(mode="json")


def _page(run: SearchRun, schedule: Schedule, evaluations: int, seconds: float) -> str:
    made = schedule.provenance
    facts = {
        "method": made.method,
        "teacher": f"Euler, {made.teacher_steps} steps",
        "calibration": f"{made.calibration_seeds} seeds from {made.calibration_seed_offset}",
        "this run": f"{evaluations:,} network evaluations, {seconds / 60:.1f} minutes",
        "date, version": f"{made.date}, {made.code_version}",
        **{name: str(value) for name, value in made.parameters.items()},
    }
    title = escape(f"{schedule.model}/{schedule.solver_id}")
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1>{_drawn(_draw_quality, schedule, 'Held-out PSNR to the teacher, with 95 % intervals')}"
        f"{_table(schedule)}{_drawn(_draw_levels, schedule, 'Noise levels of every budget, light to dark')}"
        f"{_contact_sheet(run, schedule)}<h2>How it came about</h2><dl>{listed}</dl></html>\n"
    )


def _table(schedule: Schedule) -> str:
    """PSNR of every entry and its baselines; the best of a row stands out."""
    names = list(dict.fromkeys(name for e in schedule.entries if e.evidence for name in e.evidence.baselines_psnr_db))
    rows = ["<tr><th>steps</th><th>found</th>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"]
    for entry in schedule.entries:
        if entry.evidence is None:
            continue
        baselines = entry.evidence.baselines_psnr_db
        values = [entry.evidence.psnr_db.mean, *(baselines[n].mean if n in baselines else np.nan for n in names)]
        best = float(np.nanmax(values))
        cells = "".join(f"<td{' class=best' if value == best else ''}>{value:.2f}</td>" for value in values)
        rows.append(f"<tr><td>{entry.steps}</td>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _drawn(draw: Callable[[Axes, Schedule], None], schedule: Schedule, caption: str) -> str:
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    draw(axes, schedule)
    axes.spines[["top", "right"]].set_visible(False)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    svg = text.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{escape(caption)}</figcaption></figure>"


def _draw_quality(axes: Axes, schedule: Schedule) -> None:
    shown = [(entry.steps, entry.evidence) for entry in schedule.entries if entry.evidence]
    steps = [step for step, _ in shown]
    names = dict.fromkeys(name for _, evidence in shown for name in evidence.baselines_psnr_db)
    for name, style in zip(names, cycle(("-", "--", "-.", ":")), strict=False):
        points = [(s, e.baselines_psnr_db[name].mean) for s, e in shown if name in e.baselines_psnr_db]
        axes.plot(*zip(*points, strict=True), style, color=_FAINT, linewidth=1, label=name)
    own = [evidence.psnr_db for _, evidence in shown]
    axes.fill_between(steps, [f.low for f in own], [f.high for f in own], color=_ACCENT, alpha=0.15, linewidth=0)
    axes.plot(steps, [f.mean for f in own], "o-", color=_ACCENT, markersize=4, label=schedule.solver_id)
    axes.legend(frameon=False, loc="lower right", fontsize=8, reverse=True)
    axes.set(xlabel="steps", ylabel="dB")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_levels(axes: Axes, schedule: Schedule) -> None:
    for place, entry in enumerate(schedule.entries):
        shade = min(1.0, 0.2 + 0.8 * (place + 1) / len(schedule.entries))
        share = np.linspace(0, 1, entry.steps + 1)
        axes.plot(share, entry.sigma_array(), "o-", color=_ACCENT, alpha=shade, linewidth=1, markersize=3)
    axes.set(xlabel="share of the steps done", ylabel="sigma")


def _contact_sheet(run: SearchRun, schedule: Schedule) -> str:
    """The first held-out seeds: the teacher, and what was found at a few budgets."""
    count = min(_SHOWN_SEEDS, run.held_out.problem.seeds_count)
    problem, target = run.held_out.problem.take(count), run.held_out.teacher.final[:count]
    lines = [("teacher", run.model.decode(target))]
    for entry in (entry for entry in schedule.entries if entry.steps in _SHOWN_BUDGETS):
        final = roll_out(problem, artefact_sampler(schedule, entry).table).final
        lines.append((f"{entry.steps} steps", run.model.decode(final)))
    sheet = _sheet(lines)
    return f'<figure><img alt="pictures" src="data:image/png;base64,{sheet}"></figure>'


def _sheet(lines: list[tuple[str, Pixels]]) -> str:
    figure = Figure(figsize=(9, 1.2 * len(lines)), layout="constrained")
    panels = figure.subplots(len(lines), len(lines[0][1]), squeeze=False)
    for row, (name, pictures) in zip(panels, lines, strict=True):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(name, color=_INK)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return b64encode(data.getvalue()).decode()
