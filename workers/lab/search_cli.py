"""`pacer schedules search`: search schedules for a model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from pacer.settings import Settings
from schedules.artefact import LEARNED, Schedule, check_variant, read, write
from schedules.compile import SOLVERS
from schedules.registry import SHIPPED, artefact_path
from workers.lab.loading import open_model
from workers.lab.meter import Meter
from workers.lab.misfit import misfit
from workers.lab.model import LabModel
from workers.lab.progress import progress_bar
from workers.lab.searching.apart import Errand, search_apart
from workers.lab.searching.baselines import usual_baselines
from workers.lab.searching.found import Found
from workers.lab.searching.guidance import FAILED
from workers.lab.searching.report import write_report
from workers.lab.searching.request import SearchRequest, parse_budgets, parse_range
from workers.lab.searching.run import SearchRun
from workers.lab.searching.search import search_schedule
from workers.lab.store import LabStore

_DEFAULT = SearchRequest("euler", (1,), 1.0)
_SEEDS = {"grid": 64, "pacer": 256}
_PLACED, _PLACED_VARIANT, _SIZED_VARIANT = "8,10,12,15,20", "placed", "sized"


def search(
    context: typer.Context,
    *,
    model: Annotated[
        str | None, typer.Option(help="A shipped model, digits-8 or a local folder; the first served.")
    ] = None,
    method: Annotated[
        Literal["grid", "pacer"], typer.Option(help="Search the noise levels of a solver, or coefficients with them.")
    ] = "grid",
    solver: Annotated[str | None, typer.Option(help=f"Whose grids: {', '.join(SOLVERS)}; euler by default.")] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="A word, such as g3, for a further artefact; placed with --placement, sized with --smaller."),
    ] = None,
    budgets: Annotated[str, typer.Option(help="Numbers of steps, such as 1-20 or 4,6,10.")] = "1-20",
    placement: Annotated[
        bool, typer.Option(help="With --method pacer: search at which rows guidance is evaluated, too.")
    ] = False,
    smaller: Annotated[
        str | None, typer.Option(help="With --placement: one of the model's smaller networks, that rows may run.")
    ] = None,
    evaluations: Annotated[
        str | None, typer.Option(help=f"Network evaluations, with --placement instead of budgets; {_PLACED}.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; the model's own by default.")] = None,
    guidance_range: Annotated[
        str | None, typer.Option(help="Scales to serve, such as 1,4; checked, and narrowed where it fails.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Calibration seeds; 64, with --method pacer 256.")] = None,
    validation: Annotated[int, typer.Option(help="Seeds that choose between what was found.")] = _DEFAULT.validation,
    held_out: Annotated[int, typer.Option(help="Seeds of the evidence.")] = _DEFAULT.held_out,
    seed_offset: Annotated[int, typer.Option(help="Moves all seeds and prompts.")] = 0,
    grid: Annotated[int, typer.Option(help="Intervals of the grid that paths are searched on.")] = _DEFAULT.grid,
    path_budget: Annotated[int, typer.Option(help="Most steps of the path search.")] = _DEFAULT.path_budget,
    teacher_steps: Annotated[int, typer.Option(help="The teacher's Euler steps.")] = _DEFAULT.teacher_steps,
    refine: Annotated[int, typer.Option(help="Evaluations per seed to refine a budget with.")] = _DEFAULT.refine,
    screen: Annotated[int, typer.Option(help="Calibration seeds that choose among starts.")] = _DEFAULT.screen,
    cost: Annotated[Literal["x0", "x"], typer.Option(help="What paths are ranked by.")] = _DEFAULT.cost,
    pooling: Annotated[Literal["log", "mean"], typer.Option(help="Geometric or plain mean over seeds.")] = "log",
    measure: Annotated[Literal["pixels", "latents"], typer.Option(help="Whose error to refine.")] = _DEFAULT.measure,
    free_start: Annotated[bool, typer.Option(help="Let grids begin below pure noise.")] = False,
    baselines: Annotated[
        str | None, typer.Option(help='Grids to compare with; pairs such as "ab2 shift3" for --method pacer.')
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Prompts, one a line, for models but shapes-64.")] = None,
    batch: Annotated[int, typer.Option(help="Most rows in one call of the network.")] = _DEFAULT.batch,
    start: Annotated[
        Path | None,
        typer.Option(help="With --method pacer: an artefact to go on from; give other seeds by --seed-offset."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="With --method pacer: budgets are shared out among them, GPUs in turn.")
    ] = 1,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted search.")] = False,
    out: Annotated[Path, typer.Option(help="Registry folder to write to.", show_default="the shipped one")] = SHIPPED,
    report: Annotated[
        Path | None, typer.Option(help="Page to write, with a .json beside it; out/search-MODEL-SOLVER.html.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Where teachers and results are kept.")] = Path("data/lab"),
) -> None:
    """Search a model's grids and write the artefact with its evidence."""
    settings: Settings = context.obj
    sought = _solver(method, solver)
    wanted = _wanted(budgets, evaluations, method, placement=placement)
    name = model or settings.models[0]
    lab = open_model(name, settings, prompts)
    _check_placeable(lab, placement=placement)
    seeds, begun = seeds or _SEEDS[method], _start(start, lab)
    usual = _usual_variant(begun, smaller, placement=placement)
    named = check_variant(variant) if variant is not None else usual
    request = SearchRequest(
        sought, wanted, lab.guidance_scale if guidance is None else guidance,
        guidance_range=None if guidance_range is None else parse_range(guidance_range),
        seeds=seeds, validation=validation, held_out=held_out, seed_offset=seed_offset, grid=grid,
        teacher_steps=teacher_steps, refine=refine, screen=min(seeds, screen),
        path_seeds=min(seeds, _DEFAULT.path_seeds), path_budget=min(grid, path_budget), cost=cost,
        free_start=free_start, measure=measure, log=pooling == "log",
        baselines=tuple(baselines.split(",")) if baselines else usual_baselines(lab.native, learned=method == "pacer"),
        batch=batch, placement=placement, start=begun, smaller=_smaller(smaller, lab), grids=lab.native.grids,
    )  # fmt: skip
    console, began = Console(), time.perf_counter()
    with progress_bar(console) as progress:
        run = SearchRun(lab, request, LabStore(data), Meter(progress))
        if processes > 1:
            search_apart(run, Errand(name, settings, prompts, request, data, resume), processes)
        schedule = search_schedule(
            run, variant=named, resume=resume or processes > 1,
            tell=lambda budget, found: _tell(console, budget, found, request.unit),
        )  # fmt: skip
    path = artefact_path(out, lab.name, sought, named)
    write(schedule, path)
    _print_summary(console, schedule)
    page = report or Path("out") / f"search-{lab.name.replace('/', '--')}-{schedule.solver_id}.html"
    spent = run.meter.evaluations
    files = write_report(run, schedule, page, evaluations=spent, seconds=time.perf_counter() - began)
    console.print(f"written to {path}; {spent} network evaluations; report in {' and '.join(map(str, files))}")


def _usual_variant(start: Schedule | None, smaller: str | None, *, placement: bool) -> str | None:
    """What an artefact is called where nobody says."""
    if smaller is not None:
        return _SIZED_VARIANT
    if placement:
        return _PLACED_VARIANT
    return None if start is None else start.variant


def _check_placeable(lab: LabModel, *, placement: bool) -> None:
    """Refuse to place guidance on an epsilon or v model.

    Raises:
        ValueError: its reused unconditional outputs would stand for other velocities than those searched with.
    """
    if placement and lab.native.noise is not None:
        raise ValueError(f"placement: needs a flow model; {lab.name} predicts {lab.native.prediction}")


def _smaller(name: str | None, lab: LabModel) -> str | None:
    """One of the model's smaller networks.

    Raises:
        ValueError: it has none of this name.
    """
    if name is not None and name not in lab.smaller:
        raise ValueError(f"smaller: {lab.name} has no network {name!r}; it has {', '.join(lab.smaller) or 'none'}")
    return name


def _start(path: Path | None, lab: LabModel) -> Schedule | None:
    """What to go on from.

    Raises:
        ValueError: it is another model's.
    """
    if path is None:
        return None
    schedule = read(path)
    if wrong := misfit(schedule, lab):
        raise ValueError(f"start: {path} is not for {lab.name}: {wrong}")
    return schedule


def _solver(method: Literal["grid", "pacer"], solver: str | None) -> str:
    if method == "grid":
        return solver or "euler"
    if solver not in (None, LEARNED):
        raise ValueError(f"solver: --method pacer learns its own, called {LEARNED!r}; leave {solver!r} out")
    return LEARNED


def _wanted(
    budgets: str, evaluations: str | None, method: Literal["grid", "pacer"], *, placement: bool
) -> tuple[int, ...]:
    """Budgets of steps, or of evaluations where guidance is placed."""
    if placement and method != "pacer":
        raise ValueError("placement: only --method pacer searches where guidance is evaluated")
    if evaluations is not None and not placement:
        raise ValueError("evaluations: only --placement counts them; --budgets counts steps")
    return parse_budgets(evaluations or _PLACED, "evaluations") if placement else parse_budgets(budgets)


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
