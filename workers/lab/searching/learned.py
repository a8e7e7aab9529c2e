"""The search of noise levels and coefficients together, with Pacer's own method."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from schedules.search.newton import Descended
from schedules.search.pacer import PacerSearch, sampler_of
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
            known: the budgets found before; not looked at, so that several processes may share the work.
            resume: take over what an interrupted run has found with the same switches.
        """
        del known
        run, request = self._run, self._run.request

        def make() -> Json:
            descended = self._descended(steps)
            baselines = run.baselines(steps)
            errors = baseline_errors(baselines, self._validation, request)
            sampler = sampler_of(descended.table, run.calibration.problem.time_scale)
            found = sampler, descended.validation_error
            return keep_better(found, baselines, errors, self._validation, request).record()

        # Neither other budgets nor the evidence change what is found.
        asked = repr(replace(request, budgets=(steps,), held_out=1, guidance_range=None))
        key = {**run.key, "request": asked, "learning": repr(run.learning)}
        if request.start is not None:
            key["start"] = hashlib.sha256(request.start.model_dump_json().encode()).hexdigest()
        return Found.of(run.store.record("budgets", key, lambda: costed(run.meter, make), again=not resume))

    def _descended(self, steps: int) -> Descended:
        start = self._run.request.start
        entry = start.entry(steps) if start is not None else None
        if start is None or entry is None:
            return self._search.budget(steps)
        return self._search.further(start.table(entry))
