"""Does a claim hold? Measure an entry of the registry again, on seeds and prompts of your own choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pacer.settings import Settings
from schedules.artefact import Entry, Schedule
from schedules.evidence import Evidence
from schedules.registry import Registry
from schedules.search.method import Sampler
from workers.lab.loading import open_model, served_as
from workers.lab.meter import Meter
from workers.lab.misfit import misfit
from workers.lab.model import LabModel
from workers.lab.progress import progress_bar
from workers.lab.searching.evidence import Evidences
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.store import LabStore

EXIT_CODE = 1
"""Of the command where a claim does not hold."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim and what was measured.

    Attributes:
        claimed: the entry's evidence.
        measured: the same on other seeds.
    """

    claimed: Evidence
    measured: Evidence

    @property
    def failures(self) -> tuple[str, ...]:
        """What does not hold; empty where the claim does.

        The quality holds unless its new interval lies wholly below the claimed one; a gain on a baseline holds unless
        the baseline's new interval lies wholly above the entry's.
        """
        found = []
        new, old = self.measured.psnr_db, self.claimed.psnr_db
        if new.high < old.low:
            found.append(
                f"{new.mean:.2f} dB (at most {new.high:.2f}) where {old.mean:.2f} (at least {old.low:.2f}) is claimed"
            )
        for name, said in self.claimed.baselines_psnr_db.items():
            baseline = self.measured.baselines_psnr_db[name]
            if said.mean < old.mean and baseline.low > new.high:
                found.append(f"{name} reaches {baseline.mean:.2f} dB and was said to be worse")
        return tuple(found)


def verify_entry(
    lab: LabModel, schedule: Schedule, entry: Entry, store: LabStore, meter: Meter, *, seeds: int, seed_offset: int
) -> Verdict:
    """Measure an entry again.

    Args:
        lab: the model that the schedule is for.
        schedule: the artefact.
        entry: of one of its budgets, with evidence.
        store: where teachers and measurements are kept.
        meter: counts evaluations.
        seeds: how many seeds, each with a prompt that training never saw where the model knows such.
        seed_offset: the first of them.

    Raises:
        ValueError: the entry claims nothing, or is for another model.
    """
    if entry.evidence is None:
        raise ValueError(f"{schedule.entry_id(entry.steps)}: has no evidence, so there is nothing to verify")
    if wrong := misfit(schedule, lab):
        raise ValueError(f"{schedule.entry_id(entry.steps)}: {wrong}")
    request = SearchRequest(
        schedule.solver,
        (entry.steps,),
        float(schedule.provenance.parameters["guidance_scale"]),
        held_out=seeds,
        seed_offset=seed_offset,
        grid=1,
        path_budget=1,
        teacher_steps=entry.evidence.teacher_steps,
        baselines=tuple(entry.evidence.baselines_psnr_db),
    )
    run = SearchRun(lab, request, store, meter)
    evidence = Evidences(run).of(Sampler(entry.sigma_array(), schedule.table(entry)))
    return Verdict(entry.evidence, evidence)


def verify(
    context: typer.Context,
    schedule: Annotated[str, typer.Argument(help="MODEL/SOLVER[@VARIANT]/STEPS, such as shapes-64/euler/6.")],
    *,
    seeds: Annotated[int, typer.Option(help="Seeds to measure on.")] = 128,
    seed_offset: Annotated[int, typer.Option(help="The first of them; 0 has the seeds of the claim itself.")] = 10_000,
    registry: Annotated[Path | None, typer.Option(help="A registry folder that comes before the shipped one.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Prompts, one a line, for models but shapes-64.")] = None,
    data: Annotated[Path, typer.Option(help="Where teachers and results are kept.")] = Path("data/lab"),
) -> None:
    """Measure an entry's claim again on other seeds; ends with 1 where it does not hold."""
    settings: Settings = context.obj
    found, entry = Registry.load(registry, settings.registry_dir).find(schedule)
    lab = open_model(served_as(found.model, settings), settings, prompts)
    console = Console()
    with progress_bar(console) as progress:
        meter = Meter(progress)
        verdict = verify_entry(lab, found, entry, LabStore(data), meter, seeds=seeds, seed_offset=seed_offset)
    console.print(_table(schedule, verdict))
    for failure in verdict.failures:
        console.print(f"does not hold: {failure}")
    if verdict.failures:
        raise typer.Exit(EXIT_CODE)
    console.print("the claim holds")


def _table(name: str, verdict: Verdict) -> Table:
    table = Table("PSNR, dB", "claimed", "95 %", "measured", "95 %", title=name, title_justify="left")
    claimed, measured = verdict.claimed, verdict.measured
    rows = {name: (claimed.psnr_db, measured.psnr_db)}
    rows |= {other: (claimed.baselines_psnr_db[other], figure) for other, figure in measured.baselines_psnr_db.items()}
    for label, pair in rows.items():
        cells = [text for each in pair for text in (f"{each.mean:.2f}", f"{each.low:.2f} to {each.high:.2f}")]
        table.add_row(label, *cells)
    return table
