"""The search of noise levels and coefficients together, with Pacer's own method."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from schedules.search.pacer import PacerSearch
from schedules.search.refine import resample
from schedules.table import FloatArray
from workers.lab.bench import Bench
from workers.lab.budget import baseline_errors, keep_better
from workers.lab.found import Found
from workers.lab.request import SearchRequest
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
        """The best sampler of a budget.

        Args:
            steps: the budget.
            known: the budgets found before.
            resume: take over what an interrupted run of the same request has found.
        """
        request = self._bench.request
        starts = _starts(request, steps, known)

        def make() -> Json:
            evaluations = request.refine if request.is_anchor(steps) else steps
            refined = self._search.budget(steps, starts, evaluations=evaluations)
            baselines = self._bench.baselines(steps)
            errors = baseline_errors(baselines, self._calibration, request)
            return keep_better(refined, baselines, errors, self._validation, request).record()

        key = {**self._bench.key, "learning": repr(self._bench.learning), "starts": [grid.tolist() for grid in starts]}
        return Found.of(self._bench.store.record("budgets", key, make, again=not resume))


def _starts(request: SearchRequest, steps: int, known: Mapping[int, Found]) -> list[FloatArray]:
    """The curves of the anchors on both sides and their mean, or of the nearest smaller budget."""
    neighbours = request.neighbours(steps)
    if neighbours is not None:
        curves = [resample(known[anchor].sigmas, steps) for anchor in neighbours]
        return [*curves, (curves[0] + curves[1]) / 2]
    smaller = [other for other in known if other < steps]
    return [resample(known[max(smaller)].sigmas, steps)] if smaller else []
