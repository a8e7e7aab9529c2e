"""The search of a formula solver's grids: Euler's distilled paths, other budgets' curves and baselines, refined."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schedules.interpolate import resample
from schedules.search.oss import OssOptions, search_paths
from schedules.table import FloatArray
from workers.lab.searching.budget import search_budget
from workers.lab.searching.cost import paths_cost
from workers.lab.searching.found import Found
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.store import Json
from workers.lab.teachers import costed


class FormulaSearch:
    """Searches one budget after the other; results are kept on disk.

    Args:
        run: the model, the request, the store and the meter.
    """

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._paths = _paths(run)

    def budget(self, steps: int, known: Mapping[int, Found], *, resume: bool) -> Found:
        """The best grid of a budget.

        Args:
            steps: the budget.
            known: the budgets found before.
            resume: take over what an interrupted run of the same request has found.
        """
        run = self._run
        starts = _starts(run.request, steps, self._paths, known)
        evaluations = run.request.refine if run.request.is_anchor(steps) else 0

        def make() -> Json:
            found = search_budget(
                starts,
                run.table,
                run.compared(run.calibration),
                run.compared(run.validation),
                run.request,
                baselines=run.baselines(steps),
                refine_evaluations=evaluations,
            )
            return found.record()

        key = {**run.key, "starts": [start.tolist() for start in starts]}
        return Found.of(run.store.record("budgets", key, lambda: costed(run.meter, make), again=not resume))


def _paths(run: SearchRun) -> list[FloatArray]:
    """Euler's distilled paths of budgets 1, 2, ..., from the store where they are known."""
    request, split = run.request, run.calibration
    options = OssOptions(cost=request.cost, free_start=request.free_start, log=request.log)
    budget = min(request.path_budget, request.budgets[-1])
    run.meter.stage("paths", paths_cost(run))

    def make() -> Json:
        seeds = request.path_seeds
        found = search_paths(split.problem.take(seeds), split.teacher.take(seeds), budget, options)
        return {str(len(path.sigmas) - 1): path.sigmas.tolist() for path in found}

    key = {**split.key, "options": repr(options), "budget": budget, "path_seeds": request.path_seeds}
    record = run.store.record("paths", key, make)
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
