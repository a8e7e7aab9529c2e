"""The whole search: teachers, paths, budgets, evidence, artefact."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from schedules.artefact import Entry, Schedule, SmallerNetwork, StoredTable
from schedules.compile import SOLVERS
from schedules.evidence import Provenance
from schedules.prompt_curves import PromptCurves
from schedules.search.idle_branches import without_idle_branches
from schedules.splice import Splice
from schedules.table import OWN
from workers.lab.header import header_of
from workers.lab.revision import code_version
from workers.lab.searching.cost import budget_cost, evidence_cost, expectation, range_cost
from workers.lab.searching.evidence import Evidences
from workers.lab.searching.formula import FormulaSearch
from workers.lab.searching.found import SEARCHED, Found
from workers.lab.searching.guidance import FAILED, holding_range
from workers.lab.searching.learned import LearnedSearch
from workers.lab.searching.placed import PlacedSearch, one_of_each_length, placed_parameters
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun

Tell = Callable[[int, Found], None]
"""Is told of each budget's result."""


def search_schedule(
    run: SearchRun, *, variant: str | None = None, resume: bool = False, tell: Tell | None = None
) -> Schedule:
    """Search every budget of a request and measure it on held-out seeds.

    Args:
        run: the model, the request, the store and the meter.
        variant: the artefact's; what is found does not depend on it.
        resume: take over the budgets that an interrupted run of the same request has found.
        tell: is told of each budget's result.
    """
    run.meter.expect(expectation(run))
    search = search_of(run)
    found: dict[int, Found] = {}
    for steps in run.request.in_order():
        run.meter.stage(f"{steps} {run.request.unit}", budget_cost(run, steps))
        found[steps] = search.budget(steps, found, resume=resume)
        if tell:
            tell(steps, found[steps])
    found = _lean(dict(sorted(found.items())))
    if run.request.placement:
        found = one_of_each_length(found)
    return _schedule(run, variant, found, _entries(run, found))


def search_of(run: SearchRun) -> FormulaSearch | LearnedSearch | PlacedSearch:
    """The search that a request asks for."""
    if run.request.placement:
        return PlacedSearch(run)
    return LearnedSearch(run) if run.request.learned else FormulaSearch(run)


def _lean(found: Mapping[int, Found]) -> dict[int, Found]:
    """What was found, without forwards that nothing comes of."""
    samplers = {
        steps: replace(each.sampler, table=without_idle_branches(each.sampler.table)) for steps, each in found.items()
    }
    return {steps: replace(each, sampler=samplers[steps]) for steps, each in found.items()}


def _entries(run: SearchRun, found: dict[int, Found]) -> tuple[Entry, ...]:
    evidences = Evidences(run)
    entries = []
    for result in found.values():
        steps = len(result.sigmas) - 1
        run.meter.stage(f"evidence for {steps} steps", evidence_cost(run, steps))
        sigmas, own = run.model.native.stored(result.sampler)
        table = StoredTable.of(own) if run.request.learned else None
        evidence = evidences.of(result.sampler)
        entries.append(Entry(steps=steps, sigmas=tuple(sigmas.tolist()), table=table, evidence=evidence))
    return tuple(entries)


def _schedule(run: SearchRun, variant: str | None, found: dict[int, Found], entries: tuple[Entry, ...]) -> Schedule:
    request, failures = run.request, list[str]()
    run.meter.stage("guidance range", range_cost(run, found))
    scales = holding_range(run, found, failures.append)
    entries = _merged(request.start, entries)
    return Schedule(
        **header_of(run.model, scales),
        networks=_networks(run, entries),
        solver=request.solver,
        variant=variant,
        order=SOLVERS.get(request.solver, run.learning.fit.order),
        provenance=_provenance(run, found, failures),
        entries=entries,
        prompts=_prompts_kept(request.start, found.keys()),
        splices=_splices_kept(request.start, found.keys()),
    )


def _prompts_kept(start: Schedule | None, searched: Collection[int]) -> PromptCurves | None:
    """What prompts need, of what was gone on from, where it speaks of none of the budgets that were searched."""
    prompts = None if start is None else start.prompts
    return None if prompts is None or {*prompts.steps} & {*searched} else prompts


def _splices_kept(start: Schedule | None, searched: Collection[int]) -> tuple[Splice, ...]:
    """The splices of what was gone on from whose beginnings stay as they were."""
    return () if start is None else tuple(each for each in start.splices if each.begun not in searched)


def _networks(run: SearchRun, entries: tuple[Entry, ...]) -> dict[str, SmallerNetwork]:
    """The smaller networks that the entries' tables name."""
    named = {name for entry in entries if entry.table is not None for name in entry.table.networks if name != OWN}
    found = {name: run.model.smaller[name] for name in sorted(named)}
    return {name: SmallerNetwork(weights_sha256=each.weights_sha256, cost=each.cost) for name, each in found.items()}


def _merged(start: Schedule | None, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries, and those of what was gone on from that were left alone."""
    kept = {entry.steps: entry for entry in start.entries} if start is not None else {}
    return tuple(entry for _, entry in sorted({**kept, **{entry.steps: entry for entry in entries}}.items()))


def _provenance(run: SearchRun, found: dict[int, Found], failures: Sequence[str]) -> Provenance:
    request, calibration, validation = run.request, run.calibration.seeds, run.validation.seeds
    kept = ", ".join(f"{steps}: {result.source}" for steps, result in found.items() if result.source != SEARCHED)
    return Provenance(
        method=_method(request),
        parameters={
            **(placed_parameters(run, found) if request.placement else _parameters(run)),
            "measure": request.measure,
            "pooling": "geometric mean" if request.log else "mean",
            "guidance_scale": request.guidance_scale,
            "validation_seeds": len(validation.prompts),
            "validation_seed_offset": validation.offset,
            "device": run.model.device.type,
            "baselines_kept": kept or "none",
            **({FAILED: "; ".join(failures)} if failures else {}),
            **_gone_on(request),
            **_cost(run, found),
        },
        teacher_steps=request.teacher_steps,
        calibration_seeds=len(calibration.prompts),
        calibration_seed_offset=calibration.offset,
        prompts_sha256=calibration.prompts_sha256,
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        code_version=code_version(),
    )


def _gone_on(request: SearchRequest) -> dict[str, bool | int | float | str]:
    """Which budgets were gone on with, from what was found on which seeds."""
    if request.start is None:
        return {}
    before = request.start.provenance
    earlier = str(before.parameters.get("gone_on", ""))
    seeds = f"{before.calibration_seeds} from {before.calibration_seed_offset}"
    steps = ", ".join(map(str, request.budgets))
    exceptions = {name: value for name, value in before.parameters.items() if name == "exceptions"}
    return {
        **exceptions,
        "gone_on": f"{earlier + '; ' if earlier else ''}{steps} steps after a search of {before.date}, seeds {seeds}",
    }


def _cost(run: SearchRun, found: dict[int, Found]) -> dict[str, bool | int | float | str]:
    """What the whole search took, its teachers and not the evidence; nothing where a part was not counted."""
    evaluations, seconds = [each.evaluations for each in found.values()], [each.seconds for each in found.values()]
    teacher = run.teacher_cost
    if teacher is None or None in evaluations or None in seconds:
        return {}
    spent: dict[str, int | float] = {
        "search_evaluations": teacher[0] + sum(each or 0 for each in evaluations),
        "search_seconds": round(teacher[1] + sum(each or 0.0 for each in seconds), 1),
    }
    if run.request.start is None:
        return {**spent}
    before = run.request.start.provenance.parameters
    return {name: type(value)(before[name]) + value for name, value in spent.items() if name in before}


def _method(request: SearchRequest) -> str:
    if request.smaller is not None:
        return (
            "patterns of guided and small rows by closed-form fits, Gauss-Newton over every number on the final error"
        )
    if request.placement:
        return "patterns of guided rows by closed-form fits, Gauss-Newton over every number on the final error"
    if request.learned:
        return "noise levels and multistep coefficients together: closed-form fits, Gauss-Newton on the final error"
    if request.solver == "euler":
        return "stepsize distillation with pooled cost, refined off the grid"
    return "refined off the grid from Euler's distilled paths and common grids"


def _parameters(run: SearchRun) -> dict[str, bool | int | float | str]:
    """The switches of the one method that was used."""
    request, learning = run.request, run.learning
    if request.learned:
        return {
            "fit_seeds": learning.fit_seeds,
            "ridge": learning.fit.ridge,
            "spend": learning.spend,
            "many": ", ".join(map(str, learning.newton.many)),
            "finishes": learning.finishes,
            "beyond": ", ".join(map(str, learning.beyond)),
            "anchors": learning.anchors,
            "largest_descended": learning.largest,
            "rounds_until": learning.rounds_until,
        }
    return {
        "cost": request.cost,
        "refine_evaluations_per_seed": request.refine,
        "free_start": request.free_start,
        "grid": request.grid,
        "path_budget": request.path_budget,
        "path_seeds": request.path_seeds,
    }
