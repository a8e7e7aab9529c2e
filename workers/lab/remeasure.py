"""Measure all entries of an artefact anew, and write it with that evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from workers.lab.searching.request import SearchRequest, parse_budgets
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
    quality: Annotated[
        bool,
        typer.Option("--quality", help="Measure only the quality, on more seeds, so that higher floors can be kept."),
    ] = False,
    budgets: Annotated[str | None, typer.Option(help="Only entries of so many steps, such as 4-12.")] = None,
    batch: Batch = 128,
    registry: RegistryFolder = None,
    prompts: PromptFile = None,
    out: OutFolder = SHIPPED,
    data: DataFolder = DATA,
) -> None:
    """Measure an artefact's evidence anew and write it."""
    settings: Settings = context.obj
    schedule = find_artefact(Registry.load(registry, settings.registry_dir), artefact)
    wanted = _wanted(schedule, budgets)
    lab = open_model_of(schedule, settings, prompts)
    console = Console()
    with progress_bar(console) as progress:
        request = replace(_request(schedule, wanted, seeds), seed_offset=seed_offset, batch=batch)
        run = SearchRun(lab, request, LabStore(data), Meter(progress))
        entries = _measured(run, schedule, _Told(kept=kept, quality=quality))
    path = artefact_path(out, schedule.model, schedule.solver, schedule.variant)
    write(schedule.model_copy(update={"entries": entries}), path)
    console.print(f"written to {path}; {run.meter.evaluations} network evaluations")


def _wanted(schedule: Schedule, budgets: str | None) -> tuple[int, ...]:
    """The budgets of the artefact that are to be measured: all of them by default."""
    known = tuple(entry.steps for entry in schedule.entries)
    wanted = known if budgets is None else tuple(sorted(set(parse_budgets(budgets)) & set(known)))
    if not wanted:
        raise ValueError(f"--budgets: {schedule.model}/{schedule.solver_id} has none of {budgets} steps")
    return wanted


@dataclass(frozen=True, slots=True)
class _Told:
    """Which part of the evidence is measured on more seeds, the rest staying as it was; all anew where it is none."""

    kept: bool
    quality: bool

    @property
    def any(self) -> bool:
        return self.kept or self.quality

    @property
    def options(self) -> str:
        return " ".join(name for name, on in (("--kept", self.kept), ("--quality", self.quality)) if on)

    def of(self, evidences: Evidences, sampler: Sampler, shown: Evidence | None) -> Evidence:
        """The evidence, with what is told anew."""
        if not self.any:
            return evidences.of(sampler)
        more = evidences.of_itself(sampler)
        if shown is None:
            raise ValueError(f"{self.options}: the artefact has no evidence yet")
        if shown.seed_offset != more.seed_offset or shown.seeds > more.seeds:
            was, now = (f"{each.seeds} seeds from {each.seed_offset} on" for each in (shown, more))
            raise ValueError(f"{self.options}: the means are of {was}, which are not the first of {now}")
        told: dict[str, object] = {}
        if self.kept:
            told |= {"kept_psnr_db": more.kept_psnr_db, "kept_ssim": more.kept_ssim, "kept_seeds": more.seeds}
        if self.quality:
            told |= {"task_score": more.task_score, "quality": more.quality, "quality_seeds": more.seeds}
        return shown.model_copy(update=told)


def _measured(run: SearchRun, schedule: Schedule, told: _Told) -> tuple[Entry, ...]:
    """The entries, with new evidence where it is wanted."""
    request, beside = run.request, 0 if told.any else len(run.request.baselines)
    wanted = [entry for entry in schedule.entries if entry.steps in request.budgets]
    rows = sum(entry.steps * (1 + beside) for entry in wanted)
    cost = run.branches * request.held_out * (rows + request.teacher_steps)
    run.meter.expect(cost)
    run.meter.stage("held-out seeds", cost)
    evidences = Evidences(run)
    shown = {entry.steps: told.of(evidences, artefact_sampler(schedule, entry), entry.evidence) for entry in wanted}
    return tuple(
        entry.model_copy(update={"evidence": shown.get(entry.steps, entry.evidence)}) for entry in schedule.entries
    )


def _request(schedule: Schedule, budgets: tuple[int, ...], seeds: int | None) -> SearchRequest:
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
        budgets,
        float(schedule.provenance.parameters["guidance_scale"]),
        held_out=seeds,
        grid=1,
        path_budget=1,
        teacher_steps=schedule.provenance.teacher_steps,
        baselines=tuple(shown.baselines_psnr_db) if shown else usual,
        grids=native.grids,
    )
