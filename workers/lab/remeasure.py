"""Measure all entries of an artefact anew, and write it with that evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from pacer.settings import Settings
from schedules.artefact import LEARNED, Entry, Schedule, write
from schedules.evidence import Evidence
from schedules.registry import SHIPPED, Registry, artefact_path
from schedules.search.method import Sampler
from workers.lab.artefact_model import find_artefact, open_model_of
from workers.lab.meter import Meter
from workers.lab.native import artefact_sampler, native_of
from workers.lab.options import DATA, ArtefactId, Batch, DataFolder, OutFolder, PromptFile, RegistryFolder
from workers.lab.progress import progress_bar
from workers.lab.searching.baselines import usual_baselines
from workers.lab.searching.evidence import Evidences
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.store import LabStore


def measure(
    context: typer.Context,
    artefact: ArtefactId,
    *,
    seeds: Annotated[int | None, typer.Option(help="Held-out seeds; as many as before by default.")] = None,
    seed_offset: Annotated[int, typer.Option(help="Moves the seeds and prompts.")] = 0,
    kept: Annotated[
        bool,
        typer.Option("--kept", help="Measure only what single pictures keep, on more seeds, for means have enough."),
    ] = False,
    batch: Batch = 128,
    registry: RegistryFolder = None,
    prompts: PromptFile = None,
    out: OutFolder = SHIPPED,
    data: DataFolder = DATA,
) -> None:
    """Measure an artefact's evidence anew and write it."""
    settings: Settings = context.obj
    schedule = find_artefact(Registry.load(registry, settings.registry_dir), artefact)
    lab = open_model_of(schedule, settings, prompts)
    console = Console()
    with progress_bar(console) as progress:
        request = replace(_request(schedule, seeds), seed_offset=seed_offset, batch=batch)
        run = SearchRun(lab, request, LabStore(data), Meter(progress))
        entries = _measured(run, schedule, kept=kept)
    path = artefact_path(out, schedule.model, schedule.solver, schedule.variant)
    write(schedule.model_copy(update={"entries": entries}), path)
    console.print(f"written to {path}; {run.meter.evaluations} network evaluations")


def _measured(run: SearchRun, schedule: Schedule, *, kept: bool) -> tuple[Entry, ...]:
    """The entries with new evidence, or with more of what single pictures keep."""
    request, beside = run.request, 0 if kept else len(run.request.baselines)
    rows = sum(entry.steps * (1 + beside) for entry in schedule.entries)
    cost = run.branches * request.held_out * (rows + request.teacher_steps)
    run.meter.expect(cost)
    run.meter.stage("held-out seeds", cost)
    evidences, evidence_of = Evidences(run), _kept if kept else _anew
    return tuple(
        entry.model_copy(update={"evidence": evidence_of(evidences, artefact_sampler(schedule, entry), entry.evidence)})
        for entry in schedule.entries
    )


def _request(schedule: Schedule, seeds: int | None) -> SearchRequest:
    """What the entries were measured by, as far as they were."""
    shown = next((entry.evidence for entry in schedule.entries if entry.evidence), None)
    if seeds is None:
        if shown is None:
            raise ValueError(f"seeds: {schedule.model}/{schedule.solver_id} has no evidence yet; say how many")
        seeds = shown.seeds
    native = native_of(schedule)
    usual = usual_baselines(native, learned=schedule.solver == LEARNED)
    return SearchRequest(
        schedule.solver,
        tuple(entry.steps for entry in schedule.entries),
        float(schedule.provenance.parameters["guidance_scale"]),
        held_out=seeds,
        grid=1,
        path_budget=1,
        teacher_steps=schedule.provenance.teacher_steps,
        baselines=tuple(shown.baselines_psnr_db) if shown else usual,
        grids=native.grids,
    )


def _anew(evidences: Evidences, sampler: Sampler, _: Evidence | None) -> Evidence:
    return evidences.of(sampler)


def _kept(evidences: Evidences, sampler: Sampler, shown: Evidence | None) -> Evidence:
    """What was shown, and what single pictures keep on more seeds: means stay on those of their baselines."""
    more = evidences.of_itself(sampler)
    if shown is None:
        raise ValueError("--kept: the artefact has no evidence yet")
    if shown.seed_offset != more.seed_offset or shown.seeds > more.seeds:
        was, now = (f"{each.seeds} seeds from {each.seed_offset} on" for each in (shown, more))
        raise ValueError(f"--kept: the means are of {was}, which are not the first of {now}")
    told = {"kept_psnr_db": more.kept_psnr_db, "kept_ssim": more.kept_ssim, "kept_seeds": more.seeds}
    return shown.model_copy(update=told)
