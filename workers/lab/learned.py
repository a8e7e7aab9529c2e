"""The search of noise levels and coefficients together, with Pacer's own method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from schedules.search.pacer import PacerSearch, sampler_of
from workers.lab.bench import Bench
from workers.lab.budget import baseline_errors, keep_better
from workers.lab.found import Found
from workers.lab.store import Json


class LearnedSearch:
    """Searches one budget after the other; results are kept on disk.

    Args:
        bench: the model, the request, the store and the meter.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._calibration = bench.compared(bench.calibration)
        self._validation = bench.compared(bench.validation)

    @cached_property
    def _search(self) -> PacerSearch:
        return PacerSearch(self._bench.calibration.teacher, self._calibration, self._validation, self._bench.learning)

    def budget(self, steps: int, known: Mapping[int, Found], *, resume: bool) -> Found:
        """The best sampler of a budget, whatever other budgets are searched.

        Args:
            steps: the budget.
            known: the budgets found before; not looked at, so that several processes may share the work.
            resume: take over what an interrupted run has found with the same switches.
        """
        del known
        bench, request = self._bench, self._bench.request

        def make() -> Json:
            descended = self._search.budget(steps)
            baselines = bench.baselines(steps)
            errors = baseline_errors(baselines, self._validation, request)
            sampler = sampler_of(descended.table, bench.calibration.problem.time_scale)
            found = sampler, descended.validation_error
            return keep_better(found, baselines, errors, self._validation, request).record()

        key = {**bench.key, "request": repr(replace(request, budgets=(steps,))), "learning": repr(bench.learning)}
        return Found.of(bench.store.record("budgets", key, make, again=not resume))
