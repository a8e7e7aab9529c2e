"""What a method found, as an artefact like any other: with its evidence, for the engine to serve by its id."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

from schedules.artefact import LEARNED, Entry, Schedule, StoredTable
from schedules.compile import SOLVERS
from schedules.evidence import Evidence, Provenance
from schedules.search.method import Sampler
from workers.lab.comparing.comparison import Comparison
from workers.lab.comparing.listed import Listed
from workers.lab.comparing.searched import Searched
from workers.lab.header import header_of
from workers.lab.native import Native
from workers.lab.revision import code_version

_LONGEST = 24  # of a variant's name
_ROUNDING = 1e-9


def artefact_of(run: Comparison, method: Listed, searched: Searched, shown: Mapping[int, Evidence]) -> Schedule | None:
    """A method's schedules.

    Args:
        run: the comparison.
        method: whose; a variant of its solver is called after it.
        searched: what it found.
        shown: what was measured of that, by budget.

    Returns:
        None for what is in the registry already, and for methods of the laboratory alone.
    """
    found = {budget: each for budget, each in searched.candidates.items() if isinstance(each, Sampler)}
    measured = {budget: found[budget] for budget in found if budget in shown}
    if not (method.searched or method.kind in {"grid", "published"}) or not measured:
        return None
    model = run.subject.model
    solver = method.solver if all(is_of(model.native, method.solver, each) for each in measured.values()) else LEARNED
    # Of two budgets of forwards with equally many rows the larger one stays.
    entries = {
        len(each.sigmas) - 1: _entry(model.native, solver, each, shown[budget]) for budget, each in measured.items()
    }
    return Schedule(
        **header_of(model, (run.request.guidance_scale,) * 2),
        solver=solver,
        variant=variant_of(method, solver),
        order=SOLVERS.get(solver, max(entries)),
        provenance=_provenance(run, method, searched),
        entries=tuple(entries[steps] for steps in sorted(entries)),
    )


def variant_of(method: Listed, solver: str) -> str:
    """The method's name in the letters that variants have, without the solver that the artefact is of."""
    name = method.name.removesuffix(f"+{solver}")
    name = f"stock-{name}" if method.kind == "stock" else name
    return re.sub(r"[^a-z0-9]+", "-", name.removesuffix(f"-{solver}").lower())[:_LONGEST].strip("-")


def is_of(native: Native, solver: str, sampler: Sampler) -> bool:
    """Whether a sampler is what a formula solver makes of its noise levels, for this kind of network."""
    if solver not in SOLVERS:
        return False
    sigmas, table = native.stored(sampler)
    return native.compile(solver, sigmas).difference(table, tolerance=_ROUNDING) is None


def _entry(native: Native, solver: str, sampler: Sampler, evidence: Evidence) -> Entry:
    sigmas, table = native.stored(sampler)
    stored = StoredTable.of(table) if solver == LEARNED else None
    return Entry(steps=len(sigmas) - 1, sigmas=tuple(sigmas.tolist()), table=stored, evidence=evidence)


def _provenance(run: Comparison, method: Listed, searched: Searched) -> Provenance:
    request, calibration = run.request, run.calibration
    cost = {"search_evaluations": searched.evaluations, "search_seconds": searched.seconds}
    return Provenance(
        method=f"{method.name}, as compared by pacer schedules bench",
        parameters={
            "guidance_scale": request.guidance_scale,
            "grid": request.grid,
            "device": run.subject.model.device.type,
            **{name: value for name, value in cost.items() if value is not None},
        },
        teacher_steps=request.teacher_steps,
        calibration_seeds=request.calibration_seeds,
        calibration_seed_offset=calibration.offset,
        prompts_sha256=calibration.prompts_sha256,
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        code_version=code_version(),
    )
