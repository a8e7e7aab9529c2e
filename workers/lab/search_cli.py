"""`pacer schedules search`: search schedules for a model."""

from __future__ import annotations

import time
from pathlib import Path

import typer
from rich.console import Console

from pacer.settings import Settings
from schedules.artefact import Schedule, write
from schedules.registry import artefact_path
from workers.lab.loading import open_model
from workers.lab.meter import Meter
from workers.lab.options import takes
from workers.lab.progress import progress_bar
from workers.lab.search_options import SearchOptions
from workers.lab.searching.apart import Errand, search_apart
from workers.lab.searching.found import Found
from workers.lab.searching.guidance import FAILED
from workers.lab.searching.report import write_report
from workers.lab.searching.run import SearchRun
from workers.lab.searching.search import search_schedule
from workers.lab.store import LabStore


@takes(SearchOptions)
def search(context: typer.Context, options: SearchOptions) -> None:
    """Search a model's grids and write the artefact with its evidence."""
    settings: Settings = context.obj
    name = options.model or settings.models[0]
    lab = open_model(name, settings, options.prompts)
    request = options.request(lab)
    variant = options.variant_of(request)
    errand = Errand(name, settings, options.prompts, request, options.data, options.resume)
    console, began = Console(), time.perf_counter()
    with progress_bar(console) as progress:
        run = SearchRun(lab, request, LabStore(options.data), Meter(progress))
        schedule = _searched(run, errand, variant, options.processes, console)
    path = artefact_path(options.out, lab.name, schedule.solver, variant)
    write(schedule, path)
    _print_summary(console, schedule)
    page = options.report or Path("out") / f"search-{lab.name.replace('/', '--')}-{schedule.solver_id}.html"
    spent = run.meter.evaluations
    files = write_report(run, schedule, page, evaluations=spent, seconds=time.perf_counter() - began)
    console.print(f"written to {path}; {spent} network evaluations; report in {' and '.join(map(str, files))}")


def _searched(run: SearchRun, errand: Errand, variant: str | None, processes: int, console: Console) -> Schedule:
    """What is found, in this process alone or by several whose results this one takes over."""
    apart = processes > 1
    if apart:
        search_apart(run, errand, processes)

    def tell(budget: int, found: Found) -> None:
        _tell(console, budget, found, run.request.unit)

    return search_schedule(run, variant=variant, resume=errand.resume or apart, tell=tell)


def _tell(console: Console, budget: int, found: Found, unit: str) -> None:
    gain = found.baseline_error / found.validation_error
    console.print(f"{budget:3d} {unit}  {found.source:10s} error {found.validation_error:.3g}, baseline x {gain:.2f}")


def _print_summary(console: Console, schedule: Schedule) -> None:
    for entry in schedule.entries:
        if entry.evidence is None:
            continue
        others = ", ".join(f"{name} {figure.mean:.2f}" for name, figure in entry.evidence.baselines_psnr_db.items())
        console.print(f"{entry.steps:3d} steps  {entry.evidence.psnr_db.mean:.2f} dB  ({others})")
    low, high = schedule.valid_for.guidance_scale
    console.print(f"holds for guidance {low:g} to {high:g}")
    failed = schedule.provenance.parameters.get(FAILED)
    if failed is not None:
        console.print(f"narrowed: {failed}")
