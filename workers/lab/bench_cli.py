"""`pacer schedules bench`: every method side by side on seeds that none of them has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pacer.settings import Settings
from schedules.artefact import Schedule
from schedules.registry import Registry
from workers.lab.comparing.comparison import Comparison, ComparisonRequest
from workers.lab.comparing.listed import Listed
from workers.lab.comparing.methods import Catalogue
from workers.lab.comparing.rows import write_rows
from workers.lab.comparing.run import Comparing
from workers.lab.comparing.show import plot_rows, print_evaluations, print_rows
from workers.lab.meter import Meter
from workers.lab.misfit import misfit
from workers.lab.model import LabModel
from workers.lab.options import DATA, Batch, DataFolder, Guidance, PromptFile, RegistryFolder, TeacherSteps, takes
from workers.lab.progress import progress_bar
from workers.lab.searching.request import parse_budgets
from workers.lab.show import FORMATS
from workers.lab.store import LabStore
from workers.lab.subject import open_subject

_DEFAULT = ComparisonRequest((1,), 1.0)
_SEARCHES = Path("benchmarks/schedules")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """The options as they are written; each says its meaning.

    Raises:
        ValueError: there is no such kind of picture.
    """

    model: Annotated[
        str | None, typer.Option(help="mixture-32, digits-8, a shipped model or a folder; the first served.")
    ] = None
    methods: Annotated[
        str,
        typer.Option(help="all; registry (its and stock solvers); grid, stock, published, search, pictures; or names."),
    ] = "registry"
    budgets: Annotated[str, typer.Option(help="Guided evaluations, such as 4-12 or 4,6,10.")] = "4-12"
    evaluations: Annotated[
        str | None, typer.Option(help="Network evaluations that pacer_placed is searched for, such as 8,10,15.")
    ] = None
    guidance: Guidance = None
    seeds: Annotated[int, typer.Option(help="Held-out seeds.")] = _DEFAULT.seeds
    seed_offset: Annotated[int, typer.Option(help="Moves the held-out seeds and prompts.")] = 0
    calibration_seeds: Annotated[int, typer.Option(help="Seeds of the searches.")] = _DEFAULT.calibration_seeds
    teacher_steps: TeacherSteps = _DEFAULT.teacher_steps
    grid: Annotated[int, typer.Option(help="Intervals that path searches choose from.")] = _DEFAULT.grid
    search_pacer: Annotated[bool, typer.Option(help="Search pacer here instead of reading the registry.")] = False
    registry: RegistryFolder = None
    prompts: PromptFile = None
    batch: Batch = _DEFAULT.batch
    fresh: Annotated[bool, typer.Option(help="Search and measure anew what is on disk.")] = False
    json: Annotated[Path | None, typer.Option(help="The file to write.", show_default="out/bench-MODEL.json")] = None
    keep: Annotated[
        Path | None, typer.Option(help="A registry folder: what methods find is written there, to be served by its id.")
    ] = None
    plot: Annotated[Path | None, typer.Option(help="A picture to draw, .png or .svg.")] = None
    data: DataFolder = DATA
    searches: Annotated[Path, typer.Option(help="Where searches that others made are read.")] = _SEARCHES

    def __post_init__(self) -> None:
        if self.plot is not None and self.plot.suffix not in FORMATS:
            raise ValueError(f"plot: must end in {' or '.join(FORMATS)}, is {self.plot.name!r}")

    def request(self, model: LabModel) -> ComparisonRequest:
        """What is asked for of a model.

        Raises:
            ValueError: a number is out of its range.
        """
        scale = model.guidance_scale if self.guidance is None else self.guidance
        return ComparisonRequest(
            parse_budgets(self.budgets), scale, seeds=self.seeds, seed_offset=self.seed_offset,
            calibration_seeds=self.calibration_seeds, teacher_steps=self.teacher_steps, grid=self.grid,
            batch=self.batch,
        )  # fmt: skip


@takes(BenchOptions)
def bench(context: typer.Context, options: BenchOptions) -> None:
    """Compare search methods, published tables and stock solvers on held-out seeds."""
    settings: Settings = context.obj
    subject = open_subject(options.model or settings.models[0], settings, options.prompts)
    request = options.request(subject.model)
    methods, notes = _methods(options, settings, subject.model, request.guidance_scale)
    out = options.json or Path("out") / f"bench-{subject.model.name.replace('/', '--')}.json"
    store, console = LabStore(options.data, options.searches), Console()
    with progress_bar(console) as progress:
        run = Comparison(subject, request, store, Meter(progress), fresh=options.fresh)
        comparing = Comparing(run, methods, notes, options.keep)
        for _ in comparing.each():
            write_rows(out, comparing.meta(), comparing.rows)
    _tell(options, run, comparing, console)
    console.print(f"written to {out}; {run.meter.evaluations} network evaluations")


def _tell(options: BenchOptions, run: Comparison, comparing: Comparing, console: Console) -> None:
    """Print what was measured, and draw it where that is wanted."""
    name, scale = run.subject.model.name, run.request.guidance_scale
    title = f"{name}, guidance {scale:g}, {options.seeds} held-out seeds from {options.seed_offset}"
    print_rows(comparing.rows, console, title)
    if options.evaluations is not None:
        print_evaluations(comparing.rows, console)
    for note in comparing.notes:
        console.print(f"note: {note}")
    if options.plot is not None:
        plot_rows(comparing.rows, options.plot, title)


def _methods(
    options: BenchOptions, settings: Settings, model: LabModel, scale: float
) -> tuple[Sequence[Listed], list[str]]:
    """The methods that were named, and what of the registry does not hold for this run."""
    known = Registry.load(options.registry, settings.registry_dir).schedules(model.name)
    valid, notes = _valid(known, model, scale)
    catalogue = _catalogue(valid, options.evaluations, scale, search_pacer=options.search_pacer)
    return catalogue.choose(options.methods), notes


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
