"""The search of noise levels and coefficients together, with Pacer's own method."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from schedules.search.idle_branches import with_all_branches
from schedules.search.newton import Descended
from schedules.search.pacer import PacerSearch, sampler_of
from schedules.stored_table import StoredTable
from schedules.table import Table
from workers.lab.native import artefact_sampler
from workers.lab.searching.budget import baseline_errors, keep_better
from workers.lab.searching.found import Found
from workers.lab.searching.run import SearchRun
from workers.lab.store import Json
from workers.lab.teachers import costed


class LearnedSearch:
    """Searches one budget after the other; results are kept on disk.

    Args:
        run: the model, the request, the store and the meter.
    """

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._calibration = run.smoothly_compared(run.calibration)
        self._validation = run.compared(run.validation)

    @cached_property
    def _search(self) -> PacerSearch:
        return PacerSearch(self._run.calibration.teacher, self._calibration, self._validation, self._run.learning)

    def budget(self, steps: int, known: Mapping[int, Found], *, resume: bool) -> Found:
        """The best sampler of a budget, whatever other budgets are searched.

        Args:
            steps: the budget.
            known: the budgets found before; some go on from that of one step less.
            resume: take over what an interrupted run has found with the same switches.
        """
        run, request = self._run, self._run.request
        smaller = self._smaller(steps, known)

        def make() -> Json:
            descended = self._descended(steps, smaller)
            baselines = run.baselines(steps)
            errors = baseline_errors(baselines, self._validation, request)
            sampler = sampler_of(descended.table, run.calibration.problem.time_scale)
            found = sampler, descended.validation_error
            return keep_better(found, baselines, errors, self._validation, request).record()

        # Neither the evidence changes what is found, nor a budget that it does not go on from.
        asked = repr(replace(request, budgets=(steps,), held_out=1, guidance_range=None))
        key = {**run.key, "request": asked, "learning": repr(run.learning)}
        if request.start is not None:
            key["start"] = hashlib.sha256(request.start.model_dump_json().encode()).hexdigest()
        if smaller is not None:
            key["smaller"] = hashlib.sha256(StoredTable.of(smaller).model_dump_json().encode()).hexdigest()
        return Found.of(run.store.record("budgets", key, lambda: costed(run.meter, make), again=not resume))

    def _smaller(self, steps: int, known: Mapping[int, Found]) -> Table | None:
        """What a budget goes on from, if it does: what was found for a step less, or had been before."""
        if not self._run.learning.grows(steps):
            return None
        if steps - 1 in known:
            return known[steps - 1].sampler.table
        return self._begun(steps - 1)

    def _begun(self, steps: int) -> Table | None:
        """The table of the artefact that the search goes on from."""
        start = self._run.request.start
        entry = start.entry(steps) if start is not None else None
        return None if start is None or entry is None else with_all_branches(artefact_sampler(start, entry).table)

    def _descended(self, steps: int, smaller: Table | None) -> Descended:
        begun = self._begun(steps)
        if begun is None:
            return self._search.budget(steps, smaller=smaller)
        return self._search.further([begun], smaller)
