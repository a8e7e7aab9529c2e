"""Pacer's own method: noise levels and coefficients together, on the true final error.

1. Grids from the teacher alone (`span`), for every budget, at no evaluation.
2. Coefficients in closed form on the student's own rollout (`fit`), seeds weighted so that the geometric mean of their
   errors falls: a few seeds that flip to another picture must not decide for all.
3. Moves of the log-gaps on the final error, the coefficients fitted again for each (`refine`); seeds weighted anew.
4. What is returned was best on validation seeds that decided nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from schedules.grids import shifted
from schedules.search.evaluate import seed_errors
from schedules.search.fit import FitOptions, fit_rows, robust_weights
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.refine import Draw, Refined, RefineOptions, Split, refine_drawn, resample
from schedules.search.rollout import Rollout, roll_out
from schedules.search.sensitivity import measure_sensitivity
from schedules.search.span import TeacherSpan, best_grids
from schedules.search.teacher import Teacher
from schedules.table import FloatArray, Table

_SHIFTS = (1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True, slots=True)
class PacerOptions:
    """Switches of the method.

    Attributes:
        fit: of the coefficients; its ridge chooses the first grid.
        ridges: pulls towards the formula to choose from, anew in each round, on the validation seeds.
        refine: of the moves in each round.
        rounds: how often the seeds are weighted anew.
        screen: calibration seeds that choose among starting grids.
        floor: errors below this share of the median one count as equal when seeds are weighted.
    """

    fit: FitOptions = field(default_factory=FitOptions)
    ridges: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2)
    refine: RefineOptions = field(default_factory=lambda: RefineOptions(evaluations=150, log=True))
    rounds: int = 2
    screen: int = 32
    floor: float = 0.1


Found = Callable[[int, Refined], None]
"""Called with each budget's steps and result."""


def search_pacer(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    calibration: Split | None = None,
    validation: Split | None = None,
    options: PacerOptions | None = None,
    found: Found | None = None,
) -> dict[int, Sampler]:
    """Search every budget; takes `rounds` x (`refine.evaluations` + 8 x steps) guided evaluations a budget and seed.

    Args:
        teacher: the calibration seeds' trajectories at all nodes.
        problem: the same seeds.
        budgets: numbers of steps, rising.
        calibration: where the final errors of `problem` are compared, in decoded pictures for instance; in latents by
            default.
        validation: other seeds, for the choice; by default the last third of the problem's, which then calibrate
            nothing, and errors are compared in latents.
        options: the switches.
        found: is told of each budget's result.
    """
    chosen = options or PacerOptions()
    if validation is None:
        kept = max(1, 2 * problem.seeds_count // 3)
        validation = Split(problem.drop(kept), teacher.final[kept:])
        problem, teacher, calibration = problem.take(kept), teacher.take(kept), None
    search = PacerSearch(teacher, calibration or Split(problem, teacher.final), validation, chosen)
    results: dict[int, Refined] = {}
    for steps in budgets:
        smaller = [resample(results[max(results)].sigmas, steps)] if results else []
        results[steps] = search.budget(steps, smaller)
        if found:
            found(steps, results[steps])
    return {steps: Sampler(result.sigmas, result.table) for steps, result in results.items()}


class PacerSearch:
    """The method, budget by budget.

    Args:
        teacher: the calibration seeds' trajectories.
        calibration: the same seeds, and where final errors are compared.
        validation: other seeds, for the choice.
        options: the switches.
    """

    def __init__(self, teacher: Teacher, calibration: Split, validation: Split, options: PacerOptions) -> None:
        self._teacher, self._calibration, self._validation = teacher, calibration, validation
        self._options = options
        self._span = TeacherSpan.of(teacher)
        self._sensitivity = measure_sensitivity(calibration.problem, teacher)

    def budget(self, steps: int, starts: Sequence[FloatArray] = (), *, evaluations: int | None = None) -> Refined:
        """Rounds of weighing the seeds, choosing the ridge and moving the grid; the best one on the validation seeds.

        Args:
            steps: the budget.
            starts: grids to begin with, beside the one-pass grid and shifted ones.
            evaluations: guided evaluations of each round for each seed, in place of the options'.
        """
        options = self._options.refine
        if evaluations is not None:
            options = replace(options, evaluations=evaluations)
        sigmas = self._start(steps, starts)
        drawn = self._fit(sigmas, self._options.fit)
        rounds: list[Refined] = []
        for _ in range(self._options.rounds):
            draw = self._draw(sigmas, self._weights(drawn))
            refined = refine_drawn(sigmas, draw, self._calibration, self._validation, options)
            rounds.append(refined)
            sigmas = refined.sigmas
            drawn = roll_out(self._calibration.problem, refined.table)
        return min(rounds, key=lambda refined: refined.validation_error)

    def _start(self, steps: int, starts: Sequence[FloatArray]) -> FloatArray:
        """The best of shifted grids, the one-pass grid and the given ones, on a few seeds."""
        grids = [shifted(steps, shift) for shift in _SHIFTS]
        grids += [best_grids(self._span, grids, self._sensitivity, self._options.fit), *starts]
        few = self._calibration.take(min(self._options.screen, self._calibration.problem.seeds_count))
        paths = self._teacher.take(few.problem.seeds_count)
        drawn = [fit_rows(few.problem, paths, grid, self._options.fit) for grid in grids]
        errors = [few.error(each.final, log=self._options.refine.log) for each in drawn]
        return grids[int(np.argmin(errors))]

    def _weights(self, drawn: Rollout) -> FloatArray:
        """What seeds count, by how well the last table drew them."""
        errors = seed_errors(drawn.final, self._teacher.final)
        return robust_weights(errors, self._options.floor * float(np.median(errors)))

    def _draw(self, sigmas: FloatArray, weights: FloatArray) -> Draw:
        """Weighted fits, with the ridge that is best for a grid on the validation seeds."""
        fits = [replace(self._options.fit, ridge=ridge) for ridge in self._options.ridges]
        drawn = [self._fit(sigmas, fit, weights) for fit in fits]
        best = fits[int(np.argmin([self._validation_error(each.table) for each in drawn]))]
        return lambda grid, _: self._fit(grid, best, weights)

    def _fit(self, sigmas: FloatArray, fit: FitOptions, weights: FloatArray | None = None) -> Rollout:
        return fit_rows(self._calibration.problem, self._teacher, sigmas, fit, weights)

    def _validation_error(self, table: Table) -> float:
        final = roll_out(self._validation.problem, table).final
        return self._validation.error(final, log=self._options.refine.log)
