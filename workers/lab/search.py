"""The whole search: teachers, paths, budgets, evidence, artefact."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from schedules.artefact import Entry, Schedule
from schedules.compile import SOLVERS
from schedules.evidence import Provenance, ValidFor
from schedules.search import refine
from schedules.search.oss import OssOptions, search_paths
from schedules.search.refine import resample
from schedules.table import FloatArray
from workers.lab.bench import Bench, Split
from workers.lab.budget import Found, search_budget
from workers.lab.evidence import Evidences

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
    bench.meter.expect(_expectation(bench))
    paths = _paths(bench)
    found: dict[int, Found] = {}
    for steps in bench.request.budgets:
        bench.meter.stage(f"{steps} steps", _budget_cost(bench, steps))
        found[steps] = _budget(bench, paths[steps], found.get(_previous(found)), resume=resume)
        if tell:
            tell(steps, found[steps])
    return _schedule(bench, found, _entries(bench, found))


def _paths(bench: Bench) -> dict[int, FloatArray]:
    """Euler's distilled paths of all budgets, from the store where they are known."""
    request, split = bench.request, bench.calibration
    options = OssOptions(cost=request.cost, free_start=request.free_start, log=request.log)
    bench.meter.stage("paths", _paths_cost(bench))

    def make() -> dict[str, int | float | str | list[float]]:
        paths = search_paths(split.problem, split.teacher, request.budgets[-1], options)
        return {str(len(path.sigmas) - 1): path.sigmas.tolist() for path in paths}

    key = {**split.key, "options": repr(options), "budget": request.budgets[-1]}
    record = bench.store.record("paths", key, make)
    return {steps: np.array(record[str(steps)], dtype=np.float64) for steps in request.budgets}


def _budget(bench: Bench, path: FloatArray, previous: Found | None, *, resume: bool) -> Found:
    starts = [path]
    if previous is not None and len(previous.sigmas) > 2:
        starts.append(resample(previous.sigmas, len(path) - 1))
    calibration, validation = (_refinable(split) for split in (bench.calibration, bench.validation))

    def make() -> dict[str, int | float | str | list[float]]:
        return search_budget(starts, bench.table, calibration, validation, bench.request).record()

    key = {
        **bench.calibration.key,
        "validation": bench.validation.key,
        "request": repr(bench.request),
        "starts": [start.tolist() for start in starts],
    }
    return Found.of(bench.store.record("budgets", key, make, again=not resume))


def _refinable(split: Split) -> refine.Split:
    return refine.Split(split.problem, split.teacher.final)


def _previous(found: dict[int, Found]) -> int:
    return max(found, default=0)


def _entries(bench: Bench, found: dict[int, Found]) -> tuple[Entry, ...]:
    evidences = Evidences(bench)
    entries = []
    for steps, result in found.items():
        bench.meter.stage(f"evidence for {steps} steps", _evidence_cost(bench, steps))
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
            guidance_scale=(request.guidance_scale, request.guidance_scale),
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
            "pooling": "geometric mean" if request.log else "mean",
            "free_start": request.free_start,
            "grid": request.grid,
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


def _expectation(bench: Bench) -> float:
    """Network evaluations of the whole run, roughly and from above."""
    request = bench.request
    teachers = (2 * request.seeds + request.held_out) * request.teacher_steps * bench.branches
    budgets = sum(_budget_cost(bench, steps) + _evidence_cost(bench, steps) for steps in request.budgets)
    return teachers + _paths_cost(bench) + budgets


def _paths_cost(bench: Bench) -> float:
    request = bench.request
    candidates = 2 if request.cost == "x0" else 1
    return 0.8 * candidates * request.grid * request.budgets[-1] * request.seeds * bench.branches


def _budget_cost(bench: Bench, steps: int) -> float:
    request = bench.request
    screened = (len(request.baselines) + 2) * request.screen
    validated = 3 * request.seeds
    return (steps * (screened + validated) + request.refine * request.seeds) * bench.branches


def _evidence_cost(bench: Bench, steps: int) -> float:
    return steps * (1 + len(bench.request.baselines)) * bench.request.held_out * bench.branches
