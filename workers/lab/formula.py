"""The search of a formula solver's grids: Euler's distilled paths, other budgets' curves and baselines, refined."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schedules.search.oss import OssOptions, search_paths
from schedules.search.refine import resample
from schedules.table import FloatArray
from workers.lab.bench import Bench
from workers.lab.budget import search_budget
from workers.lab.cost import paths_cost
from workers.lab.found import Found
from workers.lab.request import SearchRequest
from workers.lab.store import Json


class FormulaSearch:
    """Searches one budget after the other; results are kept on disk.

    Args:
        bench: the model, the request, the store and the meter.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._paths = _paths(bench)

    def budget(self, steps: int, known: Mapping[int, Found], *, resume: bool) -> Found:
        """The best grid of a budget.

        Args:
            steps: the budget.
            known: the budgets found before.
            resume: take over what an interrupted run of the same request has found.
        """
        bench = self._bench
        starts = _starts(bench.request, steps, self._paths, known)
        evaluations = bench.request.refine if bench.request.is_anchor(steps) else 0

        def make() -> Json:
            found = search_budget(
                starts,
                bench.table,
                bench.compared(bench.calibration),
                bench.compared(bench.validation),
                bench.request,
                baselines=bench.baselines(steps),
                refine_evaluations=evaluations,
            )
            return found.record()

        key = {**bench.key, "starts": [start.tolist() for start in starts]}
        return Found.of(bench.store.record("budgets", key, make, again=not resume))


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


def _starts(
    request: SearchRequest, steps: int, paths: list[FloatArray], known: Mapping[int, Found]
) -> list[FloatArray]:
    """Grids to start a budget from: its path or the longest one's curve, and the curves of other budgets."""
    neighbours = request.neighbours(steps)
    if neighbours is not None:
        curves = [resample(known[anchor].sigmas, steps) for anchor in neighbours]
        return [*curves, (curves[0] + curves[1]) / 2]
    starts = [resample(paths[min(steps, len(paths)) - 1], steps)]
    smaller = [other for other in known if other < steps]
    if smaller:
        starts.append(resample(known[max(smaller)].sigmas, steps))
    return starts
