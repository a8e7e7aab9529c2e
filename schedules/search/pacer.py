"""Pacer's own method: noise levels and coefficients together, on the true final error.

1. Grids from the teacher alone (`span`), at no evaluation, beside shifted ones and the curves of smaller budgets.
2. Coefficients in closed form on the student's own rollout (`fit`); stock solvers' tables beside them.
3. Gauss and Newton's descent (`newton`) from the best of these, over every number of the table: rows, net times and
   guidance weights. It goes down the geometric mean of the seeds' errors: a few that flip to another picture must not
   decide for all. The first round is tried from several starts where that is cheap.
4. What is returned was best on validation seeds that decided nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.interpolate import resample
from schedules.search.fit import FitOptions, fit_rows
from schedules.search.method import Sampler
from schedules.search.newton import Descended, NewtonOptions, Round, derivatives_cost, descend
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.sensitivity import measure_sensitivity
from schedules.search.span import TeacherSpan, best_grids
from schedules.search.teacher import Teacher
from schedules.table import FloatArray, Table

_SHIFTS = (2.0, 3.0)
_STOCK = ("ab2", "unipc-2")


@dataclass(frozen=True, slots=True)
class PacerOptions:
    """Switches of the method.

    Attributes:
        fit: of the coefficients.
        fit_seeds: calibration seeds that coefficients and one-pass grids are fitted to.
        screen: validation seeds that choose among starts.
        starts: most starts that the first round is tried from.
        largest: most steps to descend at; the best start serves above.
        measured: seeds of the rounds that measure every derivative, rising.
        later: rounds that take the curvature of the last of these, and the gradient of all calibration seeds.
        spend: most guided evaluations for the derivatives of one budget: larger ones get by with fewer rounds, starts
            and seeds.
        newton: of the descent; its rounds are set from the above.
    """

    fit: FitOptions = field(default_factory=lambda: FitOptions(ridge=1e-4))
    fit_seeds: int = 64
    screen: int = 32
    starts: int = 3
    largest: int = 12
    measured: tuple[int, ...] = (48, 96)
    later: int = 2
    spend: int = 50_000
    newton: NewtonOptions = field(default_factory=NewtonOptions)


Found = Callable[[int, Descended], None]
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
    """Search every budget; takes about `rounds` x `spend` guided evaluations for each budget.

    Args:
        teacher: the calibration seeds' trajectories; nodes are needed of the first `fit_seeds` only.
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
    results: dict[int, Sampler] = {}
    for steps in budgets:
        smaller = [resample(results[max(results)].sigmas, steps)] if results else []
        descended = search.budget(steps, smaller)
        results[steps] = sampler_of(descended.table, problem.time_scale)
        if found:
            found(steps, descended)
    return results


def sampler_of(table: Table, time_scale: float) -> Sampler:
    """A table with the noise levels that its network is told."""
    return Sampler(np.append(table.t / time_scale, 0.0), table)


class PacerSearch:
    """The method, budget by budget.

    Args:
        teacher: the calibration seeds' trajectories.
        calibration: the same seeds, and where final errors are compared.
        validation: other seeds, for the choice.
        options: the switches.
    """

    def __init__(self, teacher: Teacher, calibration: Split, validation: Split, options: PacerOptions) -> None:
        self._options, self._calibration, self._validation = options, calibration, validation
        self._target = teacher.final
        count = min(options.fit_seeds, calibration.problem.seeds_count)
        self._fitted, self._paths = calibration.problem.take(count), teacher.take(count)
        self._span = TeacherSpan.of(self._paths)
        self._sensitivity = measure_sensitivity(self._fitted, self._paths)

    def budget(self, steps: int, starts: Sequence[FloatArray] = ()) -> Descended:
        """Descend from the best starts, the first round from several; the best table on the validation seeds.

        Args:
            steps: the budget.
            starts: grids to begin with, beside the one-pass grid and shifted ones.
        """
        tables, rounds = self._starts(steps, starts), self._rounds(steps)
        newton = replace(self._options.newton, rounds=tuple(rounds))
        tables = tables[: self._affordable_starts(steps, rounds)]
        return descend(tables, self._target, self._calibration, self._validation, newton)

    def _affordable_starts(self, steps: int, rounds: Sequence[Round]) -> int:
        """From how many starts the first round is made."""
        if not rounds:
            return 1
        costs = [derivatives_cost(steps) * each.measured for each in rounds]
        return max(1, min(self._options.starts, 1 + (self._options.spend - sum(costs)) // costs[0]))

    def _rounds(self, steps: int) -> list[Round]:
        """Measured rounds as far as they can be afforded, the last before the first; then all seeds' gradients."""
        if steps > self._options.largest:
            return []
        count = self._calibration.problem.seeds_count
        left = self._options.spend // derivatives_cost(steps)
        measured: list[Round] = []
        for seeds in sorted(self._options.measured, reverse=True):
            few = min(seeds, count, left)
            if few == seeds or not measured:
                measured.insert(0, Round(max(1, few), max(1, few)))
                left -= few
        return [*measured, *(Round(0, count) for _ in range(self._options.later))]

    def _starts(self, steps: int, starts: Sequence[FloatArray]) -> list[Table]:
        """Fits on shifted grids, the one-pass grid and the given ones, and stock tables; the best first."""
        grids = [shifted(steps, shift) for shift in _SHIFTS]
        grids += [best_grids(self._span, grids, self._sensitivity, self._options.fit), *starts]
        tables = [fit_rows(self._fitted, self._paths, grid, self._options.fit).table for grid in grids]
        tables += [compile_table(solver, shifted(steps, 3.0), "flow") for solver in _STOCK]
        few = self._validation.take(min(self._options.screen, self._validation.problem.seeds_count))
        errors = [few.error(roll_out(few.problem, table).final, log=self._options.newton.log) for table in tables]
        return [tables[place] for place in np.argsort(errors)]
