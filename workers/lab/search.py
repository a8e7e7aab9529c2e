"""The whole search: teachers, paths, budgets, evidence, artefact."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from schedules.artefact import Entry, Schedule
from schedules.compile import SOLVERS
from schedules.evidence import Provenance, ValidFor
from schedules.search.oss import OssOptions, search_paths
from schedules.search.refine import resample
from schedules.table import FloatArray
from workers.lab.bench import Bench
from workers.lab.budget import Found, search_budget
from workers.lab.cost import budget_cost, evidence_cost, expectation, paths_cost
from workers.lab.evidence import Evidences
from workers.lab.guidance import holding_range
from workers.lab.request import SearchRequest
from workers.lab.store import Json

_METHODS = {
    True: "stepsize distillation with pooled cost, refined off the grid",
    False: "refined off the grid from Euler's distilled paths and common grids",
}

Tell = Callable[[int, Found], None]
"""Is told of each budget's result."""


def search_schedule(bench: Bench, *, resume: bool = False, tell: Tell | None = None) -> Schedule:
    """Search every budget of a request and measure it on held-out seeds.

    Args:
        bench: the model, the request, the store and the meter.
        resume: take over the budgets that an interrupted run of the same request has found.
        tell: is told of each budget's result.
    """
    bench.meter.expect(expectation(bench))
    paths = _paths(bench)
    found: dict[int, Found] = {}
    for steps in sorted(bench.request.budgets, key=lambda steps: (not bench.request.is_anchor(steps), steps)):
        bench.meter.stage(f"{steps} steps", budget_cost(bench, steps))
        found[steps] = _budget(bench, steps, _starts(bench.request, steps, paths, found), resume=resume)
        if tell:
            tell(steps, found[steps])
    found = dict(sorted(found.items()))
    return _schedule(bench, found, _entries(bench, found))


def _paths(bench: Bench) -> list[FloatArray]:
    """Euler's distilled paths of budgets 1, 2, ..., from the store where they are known."""
    request, split = bench.request, bench.calibration
    options = OssOptions(cost=request.cost, free_start=request.free_start, log=request.log)
    budget = min(request.path_budget, request.budgets[-1])
    bench.meter.stage("paths", paths_cost(bench))

    def make() -> Json:
        seeds = request.path_seeds
        found = search_paths(split.problem.take(seeds), split.teacher.take(seeds), budget, options)
        return {str(len(path.sigmas) - 1): path.sigmas.tolist() for path in found}

    key = {**split.key, "options": repr(options), "budget": budget, "path_seeds": request.path_seeds}
    record = bench.store.record("paths", key, make)
    return [np.array(record[str(steps)], dtype=np.float64) for steps in range(1, budget + 1)]


def _starts(request: SearchRequest, steps: int, paths: list[FloatArray], found: dict[int, Found]) -> list[FloatArray]:
    """Grids to start a budget from: its path or the longest one's curve, and the curves of other budgets."""
    neighbours = request.neighbours(steps)
    if neighbours is not None:
        curves = [resample(found[anchor].sigmas, steps) for anchor in neighbours]
        return [*curves, (curves[0] + curves[1]) / 2]
    starts = [resample(paths[min(steps, len(paths)) - 1], steps)]
    smaller = [other for other in found if other < steps]
    if smaller:
        starts.append(resample(found[max(smaller)].sigmas, steps))
    return starts


def _budget(bench: Bench, steps: int, starts: list[FloatArray], *, resume: bool) -> Found:
    calibration, validation = (bench.compared(split) for split in (bench.calibration, bench.validation))
    evaluations = bench.request.refine if bench.request.is_anchor(steps) else 0

    def make() -> Json:
        found = search_budget(
            starts, bench.table, calibration, validation, bench.request, refine_evaluations=evaluations
        )
        return found.record()

    key = {
        **bench.calibration.key,
        "validation": bench.validation.key,
        "request": repr(bench.request),
        "starts": [start.tolist() for start in starts],
    }
    return Found.of(bench.store.record("budgets", key, make, again=not resume))


def _entries(bench: Bench, found: dict[int, Found]) -> tuple[Entry, ...]:
    evidences = Evidences(bench)
    entries = []
    for steps, result in found.items():
        bench.meter.stage(f"evidence for {steps} steps", evidence_cost(bench, steps))
        evidence = evidences.of(result.sigmas)
        entries.append(Entry(steps=steps, sigmas=tuple(result.sigmas.tolist()), evidence=evidence))
    return tuple(entries)


def _schedule(bench: Bench, found: dict[int, Found], entries: tuple[Entry, ...]) -> Schedule:
    model, request = bench.model, bench.request
    width, height = model.size
    return Schedule(
        format="pacer-schedule/1",
        model=model.name,
        revision=model.revision,
        weights_sha256=model.weights_sha256,
        dtype=model.dtype,
        quantization=None,
        prediction="flow",
        solver=request.solver,
        order=SOLVERS[request.solver],
        valid_for=ValidFor(
            width=(width, width),
            height=(height, height),
            guidance_scale=holding_range(bench, found),
        ),
        provenance=_provenance(bench, found),
        entries=entries,
    )


def _provenance(bench: Bench, found: dict[int, Found]) -> Provenance:
    request, calibration, validation = bench.request, bench.calibration.seeds, bench.validation.seeds
    kept = ", ".join(f"{steps}: {result.source}" for steps, result in found.items() if result.source != "searched")
    return Provenance(
        method=_METHODS[request.solver == "euler"],
        parameters={
            "cost": request.cost,
            "measure": request.measure,
            "pooling": "geometric mean" if request.log else "mean",
            "free_start": request.free_start,
            "grid": request.grid,
            "path_budget": request.path_budget,
            "path_seeds": request.path_seeds,
            "refine_evaluations_per_seed": request.refine,
            "guidance_scale": request.guidance_scale,
            "validation_seeds": len(validation.prompts),
            "validation_seed_offset": validation.offset,
            "device": bench.model.device.type,
            "baselines_kept": kept or "none",
        },
        teacher_steps=request.teacher_steps,
        calibration_seeds=len(calibration.prompts),
        calibration_seed_offset=calibration.offset,
        prompts_sha256=calibration.prompts_sha256,
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        code_version=_code_version(),
    )


def _code_version() -> str:
    try:
        return version("pacer")
    except PackageNotFoundError:
        return "unpacked"
