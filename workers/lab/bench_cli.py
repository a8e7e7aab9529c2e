"""`pacer schedules bench`: every method side by side on seeds that none of them has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pacer.settings import Settings
from schedules.artefact import Schedule
from schedules.registry import Registry
from workers.lab.comparing.comparison import Comparison, ComparisonRequest
from workers.lab.comparing.methods import Catalogue
from workers.lab.comparing.rows import write_rows
from workers.lab.comparing.run import Comparing
from workers.lab.comparing.show import plot_rows, print_evaluations, print_rows
from workers.lab.meter import Meter
from workers.lab.misfit import misfit
from workers.lab.model import LabModel
from workers.lab.progress import progress_bar
from workers.lab.searching.request import parse_budgets
from workers.lab.show import FORMATS
from workers.lab.store import LabStore
from workers.lab.subject import open_subject

_DEFAULT = ComparisonRequest((1,), 1.0)
_SEARCHES = Path("benchmarks/schedules")


def bench(
    context: typer.Context,
    *,
    model: Annotated[
        str | None, typer.Option(help="mixture-32, digits-8, a shipped model or a folder; the first served.")
    ] = None,
    methods: Annotated[
        str,
        typer.Option(help="all; registry (its and stock solvers); grid, stock, published, search, pictures; or names."),
    ] = "registry",
    budgets: Annotated[str, typer.Option(help="Guided evaluations, such as 4-12 or 4,6,10.")] = "4-12",
    evaluations: Annotated[
        str | None, typer.Option(help="Network evaluations that pacer_placed is searched for, such as 8,10,15.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; the model's own by default.")] = None,
    seeds: Annotated[int, typer.Option(help="Held-out seeds.")] = _DEFAULT.seeds,
    seed_offset: Annotated[int, typer.Option(help="Moves the held-out seeds and prompts.")] = 0,
    calibration_seeds: Annotated[int, typer.Option(help="Seeds of the searches.")] = _DEFAULT.calibration_seeds,
    teacher_steps: Annotated[int, typer.Option(help="The teacher's Euler steps.")] = _DEFAULT.teacher_steps,
    grid: Annotated[int, typer.Option(help="Intervals that path searches choose from.")] = _DEFAULT.grid,
    search_pacer: Annotated[bool, typer.Option(help="Search pacer here instead of reading the registry.")] = False,
    registry: Annotated[Path | None, typer.Option(help="A registry folder that comes before the shipped one.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Prompts, one a line, for models but shapes-64.")] = None,
    batch: Annotated[int, typer.Option(help="Most rows in one call of the network.")] = _DEFAULT.batch,
    fresh: Annotated[bool, typer.Option(help="Search and measure anew what is on disk.")] = False,
    json: Annotated[Path | None, typer.Option(help="The file to write.", show_default="out/bench-MODEL.json")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="A registry folder: what methods find is written there, to be served by its id.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="A picture to draw, .png or .svg.")] = None,
    data: Annotated[Path, typer.Option(help="Where teachers and results are kept.")] = Path("data/lab"),
    searches: Annotated[Path, typer.Option(help="Where searches that others made are read.")] = _SEARCHES,
) -> None:
    """Compare search methods, published tables and stock solvers on held-out seeds."""
    settings: Settings = context.obj
    if plot is not None and plot.suffix not in FORMATS:
        raise ValueError(f"plot: must end in {' or '.join(FORMATS)}, is {plot.name!r}")
    subject = open_subject(model or settings.models[0], settings, prompts)
    scale = subject.model.guidance_scale if guidance is None else guidance
    request = ComparisonRequest(
        parse_budgets(budgets), scale, seeds=seeds, seed_offset=seed_offset, calibration_seeds=calibration_seeds,
        teacher_steps=teacher_steps, grid=grid, batch=batch,
    )  # fmt: skip
    valid, notes = _valid(
        Registry.load(registry, settings.registry_dir).schedules(subject.model.name), subject.model, scale
    )
    chosen = _catalogue(valid, evaluations, scale, search_pacer=search_pacer).choose(methods)
    out, console = json or Path("out") / f"bench-{subject.model.name.replace('/', '--')}.json", Console()
    with progress_bar(console) as progress:
        meter = Meter(progress)
        comparing = Comparing(
            Comparison(subject, request, LabStore(data, searches), meter, fresh=fresh), chosen, notes, keep
        )
        for _ in comparing.each():
            write_rows(out, comparing.meta(), comparing.rows)
    title = f"{subject.model.name}, guidance {scale:g}, {seeds} held-out seeds from {seed_offset}"
    print_rows(comparing.rows, console, title)
    if evaluations is not None:
        print_evaluations(comparing.rows, console)
    for note in comparing.notes:
        console.print(f"note: {note}")
    if plot is not None:
        plot_rows(comparing.rows, plot, title)
    console.print(f"written to {out}; {meter.evaluations} network evaluations")


def _catalogue(valid: list[Schedule], evaluations: str | None, scale: float, *, search_pacer: bool) -> Catalogue:
    """The methods; guidance is placed where there is some and evaluations are named."""
    if evaluations is None:
        return Catalogue(valid, search_pacer=search_pacer)
    if scale == 1:
        raise ValueError("evaluations: without guidance, at scale 1, there is nothing to place")
    wanted = parse_budgets(evaluations, "evaluations")
    if wanted[0] < 2:
        raise ValueError(f"evaluations: must be at least 2, one guided step, are {evaluations}")
    return Catalogue(valid, search_pacer=search_pacer, evaluations=wanted)


def _valid(schedules: tuple[Schedule, ...], model: LabModel, scale: float) -> tuple[list[Schedule], list[str]]:
    """The artefacts that hold for this run, and what is wrong with the others."""
    valid, notes = [], []
    for schedule in schedules:
        problem = _problem(schedule, model, scale)
        if problem is None:
            valid.append(schedule)
        else:
            notes.append(f"registry's {schedule.model}/{schedule.solver_id} left out: {problem}")
    return valid, notes


def _problem(schedule: Schedule, model: LabModel, scale: float) -> str | None:
    if wrong := misfit(schedule, model):
        return wrong
    width, height = model.size
    if not schedule.valid_for.covers(width=width, height=height, guidance_scale=scale):
        low, high = schedule.valid_for.guidance_scale
        return f"it holds for guidance {low:g} to {high:g}, not {scale:g}"
    return None
