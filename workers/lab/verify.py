"""Does a claim hold? Measure an entry of the registry again, on seeds and prompts of your own choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from pacer.settings import Settings
from schedules.artefact import Entry, Schedule
from schedules.evidence import Evidence, Kept
from schedules.registry import Registry
from schedules.table import FloatArray
from workers.lab.loading import open_model, served_as
from workers.lab.meter import Meter
from workers.lab.misfit import misfit
from workers.lab.model import LabModel
from workers.lab.native import artefact_sampler
from workers.lab.options import DATA, DataFolder, EntryId, PromptFile, RegistryFolder
from workers.lab.progress import progress_bar
from workers.lab.searching.evidence import Evidences
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.store import LabStore

EXIT_CODE = 1
"""Of the command where a claim does not hold."""


_CHANCE = 0.005  # of a true claim of what single pictures keep to fail; there are up to five of a figure


@dataclass(frozen=True, slots=True)
class KeptAgain:
    """A claim of what single pictures have, and how many have it.

    Attributes:
        unit: of the figure.
        by: share of the pictures that is said to have it.
        least: what they have at the least.
        reached: pictures that have it.
        seeds: of so many.
    """

    unit: Literal["dB", "SSIM"]
    by: float
    least: float
    reached: int
    seeds: int

    @property
    def holds(self) -> bool:
        """Whether so few would not be odd, were the claim just true (binomial test)."""
        return bool(binomtest(self.reached, self.seeds, self.by, alternative="less").pvalue >= _CHANCE)

    @property
    def failure(self) -> str:
        """What is wrong where it does not hold."""
        measured = f"{self.reached} of {self.seeds} pictures have {self.least:.4g} {self.unit}"
        return f"{measured}, where {100 * self.by:g} of 100 are claimed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim and what was measured.

    Attributes:
        claimed: the entry's evidence.
        measured: the same on other seeds.
        kept: what single pictures are said to have, on those seeds.
    """

    claimed: Evidence
    measured: Evidence
    kept: tuple[KeptAgain, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """What does not hold; empty where the claim does.

        The quality holds unless its new interval lies wholly below the claimed one; a gain on a baseline holds unless
        the baseline's new interval lies wholly above the entry's; what single pictures keep holds unless so few that
        have it would be odd.
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
        found += [each.failure for each in self.kept if not each.holds]
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
        grids=lab.native.grids,
    )
    evidences = Evidences(SearchRun(lab, request, store, meter))
    sampler, claimed = artefact_sampler(schedule, entry), entry.evidence
    kept = (
        *_kept_again(claimed.kept_psnr_db, evidences.of_seeds(sampler, "psnr_db"), "dB"),
        *_kept_again(claimed.kept_ssim, evidences.of_seeds(sampler, "ssim"), "SSIM"),
    )
    return Verdict(claimed, evidences.of(sampler), kept)


def _kept_again(claims: Sequence[Kept], figures: FloatArray, unit: Literal["dB", "SSIM"]) -> Iterator[KeptAgain]:
    for each in claims:
        yield KeptAgain(unit, each.by, each.least, int((figures >= each.least).sum()), len(figures))


def verify(
    context: typer.Context,
    schedule: EntryId,
    *,
    seeds: Annotated[int, typer.Option(help="Seeds to measure on.")] = 128,
    seed_offset: Annotated[int, typer.Option(help="The first of them; 0 has the seeds of the claim itself.")] = 10_000,
    registry: RegistryFolder = None,
    prompts: PromptFile = None,
    data: DataFolder = DATA,
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
    if verdict.kept:
        console.print(_kept_table(verdict))
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


def _kept_table(verdict: Verdict) -> Table:
    table = Table("of 100 pictures", "have at least", "measured", title="single pictures", title_justify="left")
    for each in verdict.kept:
        share = 100 * each.reached / each.seeds
        table.add_row(f"{100 * each.by:g}", f"{each.least:.4g} {each.unit}", f"{share:.1f} of 100 ({each.seeds} seeds)")
    return table
