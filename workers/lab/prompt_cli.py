"""`pacer schedules prompts`: fit how good each budget is for a prompt, judge it, and write it into the artefact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pacer.settings import Settings
from schedules.artefact import LEARNED, Entry, Schedule, write
from schedules.registry import SHIPPED, Registry, artefact_path
from schedules.search.prompt_fit import fit_prompts
from workers.lab.artefact_model import find_artefact, open_model_of
from workers.lab.meter import Meter
from workers.lab.native import Native
from workers.lab.options import DATA, ArtefactId, Batch, DataFolder, OutFolder, PromptFile, RegistryFolder
from workers.lab.progress import progress_bar
from workers.lab.prompt_errors import Repeated, calibration, repeated
from workers.lab.prompt_report import Judged, draw, report
from workers.lab.searching.baselines import usual_baselines
from workers.lab.searching.request import SearchRequest, parse_budgets
from workers.lab.searching.run import SearchRun
from workers.lab.store import LabStore


def prompts(
    context: typer.Context,
    artefact: ArtefactId,
    *,
    budgets: Annotated[str, typer.Option(help="Which of its budgets, such as 3-12.")] = "3-12",
    seeds: Annotated[int, typer.Option(help="Calibration seeds, each with its prompt.")] = 768,
    seed_offset: Annotated[int, typer.Option(help="Moves them away from those of the search.")] = 100_000,
    check_prompts: Annotated[int, typer.Option(help="Held-out prompts that judge the fit.")] = 36,
    check_seeds: Annotated[int, typer.Option(help="Pictures of each; an even number.")] = 12,
    batch: Batch = 128,
    registry: RegistryFolder = None,
    prompts: PromptFile = None,
    out: OutFolder = SHIPPED,
    plot: Annotated[Path | None, typer.Option(help="A picture of told against measured PSNR, .png or .svg.")] = None,
    data: DataFolder = DATA,
) -> None:
    """Fit what each budget is worth for a prompt, judge it on others, and write it into the artefact."""
    settings: Settings = context.obj
    if check_seeds < 2 or check_seeds % 2:
        raise ValueError(f"--check-seeds: must be an even number from 2 on, as halves are compared; is {check_seeds}")
    schedule = find_artefact(Registry.load(registry, settings.registry_dir), artefact)
    entries = _entries(schedule, budgets)
    lab = open_model_of(schedule, settings, prompts)
    request = _request(schedule, entries, lab.native, seeds=seeds, seed_offset=seed_offset, batch=batch)
    console = Console()
    with progress_bar(console) as progress:
        run = SearchRun(lab, request, LabStore(data), Meter(progress))
        curves = fit_prompts(calibration(run, schedule, entries), seed_offset=seed_offset)
        errors = repeated(run, schedule, entries, Repeated(check_prompts, check_seeds))
    judged = Judged(schedule, curves, errors, check_seeds)
    for table in report(judged):
        console.print(table)
    if plot is not None:
        draw(judged, plot)
    path = artefact_path(out, schedule.model, schedule.solver, schedule.variant)
    write(schedule.model_copy(update={"prompts": curves}), path)
    console.print(f"written to {path}")


def _entries(schedule: Schedule, budgets: str) -> tuple[Entry, ...]:
    """Those of the artefact's entries that are wanted.

    Raises:
        ValueError: it has none of them.
    """
    wanted = set(parse_budgets(budgets))
    entries = tuple(entry for entry in schedule.entries if entry.steps in wanted)
    if not entries:
        raise ValueError(f"--budgets: {schedule.model}/{schedule.solver_id} has none of {budgets}")
    return entries


def _request(
    schedule: Schedule, entries: Sequence[Entry], native: Native, *, seeds: int, seed_offset: int, batch: int
) -> SearchRequest:
    """What has the seeds and the teacher that entries are measured by; it searches nothing."""
    return SearchRequest(
        schedule.solver,
        tuple(entry.steps for entry in entries),
        float(schedule.provenance.parameters["guidance_scale"]),
        seeds=seeds,
        seed_offset=seed_offset,
        screen=1,
        path_seeds=1,
        grid=1,
        path_budget=1,
        teacher_steps=schedule.provenance.teacher_steps,
        baselines=usual_baselines(native, learned=schedule.solver == LEARNED),
        grids=native.grids,
        batch=batch,
    )
