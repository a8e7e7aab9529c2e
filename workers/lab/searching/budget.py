"""The search of one step budget: the best start, refined, against the best baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from schedules.search.method import Sampler
from schedules.search.refine import Compile, RefineOptions, Split, grid_errors, refine
from schedules.search.rollout import roll_out
from schedules.table import FloatArray
from workers.lab.searching.found import SEARCHED, Found
from workers.lab.searching.request import SearchRequest


def search_budget(
    starts: list[FloatArray],
    compile_table: Compile,
    calibration: Split,
    validation: Split,
    request: SearchRequest,
    *,
    baselines: Mapping[str, Sampler],
    refine_evaluations: int,
) -> Found:
    """Refine the best of the starts and the baselines; the validation seeds say whether that was worth it.

    Args:
        starts: grids from the path search and from other budgets, equally long.
        compile_table: the solver.
        calibration: decides about moves.
        validation: decides what is kept.
        request: the switches.
        baselines: other grids under the same solver, by name.
        refine_evaluations: network evaluations of the refinement, per calibration seed; 0 only chooses.
    """
    grids = [*starts, *(baseline.sigmas for baseline in baselines.values())]
    errors = grid_errors(calibration.take(request.screen), grids, compile_table, log=request.log)
    options = RefineOptions(evaluations=refine_evaluations, log=request.log, free_start=request.free_start)
    refined = refine(grids[int(np.argmin(errors))], compile_table, calibration, validation, options)
    found = Sampler(refined.sigmas, refined.table), refined.validation_error
    return keep_better(found, baselines, errors[len(starts) :], validation, request)


def baseline_errors(baselines: Mapping[str, Sampler], split: Split, request: SearchRequest) -> list[float]:
    """The pooled final error of each baseline on the first seeds of a split."""
    few = split.take(min(request.screen, split.problem.seeds_count))
    drawn = [roll_out(few.problem, baseline.table) for baseline in baselines.values()]
    return [few.error(each.final, log=request.log) for each in drawn]


def keep_better(
    found: tuple[Sampler, float],
    baselines: Mapping[str, Sampler],
    errors: Sequence[float],
    validation: Split,
    request: SearchRequest,
) -> Found:
    """What was found, or the best baseline where that is as good on the validation seeds.

    Args:
        found: the sampler, and its pooled final error on the validation seeds.
        baselines: by name.
        errors: of each baseline on a few seeds, which choose the best one.
        validation: decides between the two.
        request: the switches.
    """
    name, best = list(baselines.items())[int(np.argmin(errors))]
    drawn = roll_out(validation.problem, best.table)
    baseline_error = validation.error(drawn.final, log=request.log)
    sampler, error = found
    if baseline_error <= error:
        return Found(best, name, baseline_error, baseline_error)
    return Found(sampler, SEARCHED, error, baseline_error)
