"""`pacer schedules splices`: how images that were begun with one budget go on with another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Lines

from pacer.settings import Settings
from schedules.artefact import LEARNED, Schedule, write
from schedules.registry import SHIPPED, Registry, artefact_path
from schedules.splice import Splice
from workers.lab.artefact_model import find_artefact, open_model_of
from workers.lab.meter import Meter
from workers.lab.native import Native
from workers.lab.options import DATA, Batch, DataFolder, OutFolder, PromptFile, RegistryFolder
from workers.lab.progress import progress_bar
from workers.lab.searching.baselines import usual_baselines
from workers.lab.searching.request import SearchRequest, parse_budgets
from workers.lab.searching.run import SearchRun
from workers.lab.searching.spliced import Effort, Splicing, Wanted
from workers.lab.store import LabStore


def splices(
    context: typer.Context,
    artefact: Annotated[str, typer.Argument(help="MODEL/learned[@VARIANT], such as shapes-64/learned.")],
    *,
    begun: Annotated[str, typer.Option(help="Budgets that images were begun with, such as 4-10.")] = "4-10",
    to: Annotated[str, typer.Option(help="Steps that they end with, such as 6,8,10,12.")] = "6,8,10,12",
    done: Annotated[str, typer.Option(help="Steps that were made by then, such as 1 or 1-3.")] = "1",
    seeds: Annotated[int, typer.Option(help="Calibration seeds.")] = 128,
    validation: Annotated[int, typer.Option(help="Seeds that choose.")] = 64,
    rounds: Annotated[str | None, typer.Option(help="Seeds of each round that moves all numbers, as 24,64.")] = None,
    many: Annotated[str | None, typer.Option(help="Seeds of each round after these, as 128,256.")] = None,
    go_on: Annotated[bool, typer.Option("--go-on", help="Begin with the splices that the artefact has.")] = False,
    batch: Batch = 128,
    registry: RegistryFolder = None,
    prompts: PromptFile = None,
    out: OutFolder = SHIPPED,
    data: DataFolder = DATA,
) -> None:
    """Search how images go on with more steps or fewer, measure that, and write it into the artefact."""
    settings: Settings = context.obj
    schedule = find_artefact(Registry.load(registry, settings.registry_dir), artefact)
    if schedule.solver != LEARNED:
        raise ValueError(f"{artefact}: only learned coefficients can be spliced, solver is {schedule.solver}")
    wanted = list(_wanted(schedule, begun, to, done))
    if not wanted:
        raise ValueError(f"--begun, --to, --done: {artefact} has no two budgets such as {begun} and {to}")
    effort = Effort(_counts(rounds, "rounds"), _counts(many, "many"), go_on)
    lab = open_model_of(schedule, settings, prompts)
    request = _request(schedule, wanted, lab.native, seeds=seeds, validation=validation, batch=batch)
    console = Console()
    path = artefact_path(out, schedule.model, schedule.solver, schedule.variant)
    with progress_bar(console) as progress:
        splicing = Splicing(SearchRun(lab, request, LabStore(data), Meter(progress)), schedule, effort)
        splicing.expect(wanted)
        for each in wanted:
            schedule = _with(schedule, splicing.splice(each))
            write(schedule, path)
    console.print(_lines(schedule))
    console.print(f"written to {path}")


def _request(
    schedule: Schedule, wanted: Sequence[Wanted], native: Native, *, seeds: int, validation: int, batch: int
) -> SearchRequest:
    """What splices are searched and measured by: the seeds of the artefact's evidence, and its teacher."""
    shown = next((entry.evidence.seeds for entry in schedule.entries if entry.evidence), 128)
    scale = float(schedule.provenance.parameters["guidance_scale"])
    return SearchRequest(
        LEARNED, tuple(sorted({each.steps for each in wanted})), scale, seeds=seeds, validation=validation,
        held_out=shown, screen=1, path_seeds=1, grid=1, path_budget=1, teacher_steps=schedule.provenance.teacher_steps,
        baselines=usual_baselines(native, learned=True), batch=batch, grids=native.grids,
    )  # fmt: skip


def _counts(text: str | None, name: str) -> tuple[int, ...] | None:
    """Read "24,64"; "0" is no round at all, and None stays None."""
    if text is None or text.strip() == "0":
        return None if text is None else ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"{name}: must be numbers of seeds such as 24,64, or 0 for no round, is {text!r}")
    return tuple(int(part) for part in parts)


def _wanted(schedule: Schedule, begun: str, to: str, done: str) -> Iterator[Wanted]:
    """All that the artefact has budgets for."""
    known = {entry.steps for entry in schedule.entries}
    for first in parse_budgets(begun, "begun"):
        for last in parse_budgets(to, "to"):
            for made in parse_budgets(done, "done"):
                if first != last and made < min(first, last) and {first, last, last - made + 1} <= known:
                    yield Wanted(first, made, last)


def _with(schedule: Schedule, splice: Splice) -> Schedule:
    """The artefact with a splice, which replaces one of the same steps."""

    def key(each: Splice) -> tuple[int, int, int]:
        return each.begun, each.done, each.steps

    others = [each for each in schedule.splices if key(each) != key(splice)]
    return schedule.model_copy(update={"splices": tuple(sorted([*others, splice], key=key))})


def _lines(schedule: Schedule) -> Lines:
    """What each splice is worth, beside the budgets that it lies between."""
    lines = Lines("begun with", "made", "ends with", "PSNR dB", "left as it was", "so from the start")
    known = {entry.steps: entry.evidence for entry in schedule.entries}
    for each in schedule.splices:
        figures = [known[each.begun], known.get(each.steps)]
        told = ["" if shown is None else f"{shown.psnr_db.mean:.2f}" for shown in figures]
        lines.add_row(str(each.begun), str(each.done), str(each.steps), f"{each.evidence.psnr_db.mean:.2f}", *told)
    return lines
