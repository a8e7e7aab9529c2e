"""Pacer's own method: noise levels and coefficients together, on the true final error.

1. Coefficients in closed form on the student's own rollout (`fit`), on shifted grids, the one from the teacher alone
   (`span`) and the curves of smaller budgets; stock solvers' tables beside them. How good such a fit is jumps by some
   dB between neighbouring grids, so that many are tried.
2. Gauss and Newton's descent (`newton`) over every number of the table: rows, net times and guidance weights. It goes
   down the geometric mean of the seeds' errors in what is seen: a few that flip to another picture must not decide for
   all. The first round is made from several starts, on few seeds; what comes out best goes on, in the end with many.
3. Every second budget from some length on goes on from the table of one step less (`grown`), with a round over many
   seeds alone; where derivatives cost more than a budget may spend, the better of that table and of a fit is taken.
4. What is returned was best on validation seeds that decided nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.interpolate import resample
from schedules.search.fit import fit_rows
from schedules.search.grown import grown
from schedules.search.method import Sampler
from schedules.search.newton import Descended, descend
from schedules.search.pacer_options import STOCK, Outlay, PacerOptions
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.sensitivity import Sensitivity, measure_sensitivity
from schedules.search.span import TeacherSpan, best_grids
from schedules.search.teacher import Teacher
from schedules.table import FloatArray, Table

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
    """Search every budget; takes at most about `spend` guided evaluations for each.

    Args:
        teacher: the calibration seeds' trajectories; nodes are needed of the first `fit_seeds` only.
        problem: the same seeds.
        budgets: numbers of steps, rising.
        calibration: where the final errors of `problem` are compared, in pictures before rounding for instance; in
            latents by default.
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
        grids = [resample(results[max(results)].sigmas, steps)] if results else []
        smaller = results[steps - 1].table if steps - 1 in results else None
        descended = search.budget(steps, grids, smaller)
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
        count = min(options.fit_seeds, calibration.problem.seeds_count)
        self._fitted, self._paths = calibration.problem.take(count), teacher.take(count)

    @cached_property
    def _one_pass(self) -> tuple[TeacherSpan, Sensitivity]:
        """What the teacher alone says about grids, and how errors grow on the way to the end."""
        return TeacherSpan.of(self._paths), measure_sensitivity(self._fitted, self._paths)

    def budget(self, steps: int, starts: Sequence[FloatArray] = (), smaller: Table | None = None) -> Descended:
        """Descend from the best starts, the first round from several; the best table on the validation seeds.

        Args:
            steps: the budget.
            starts: grids to begin with, beside the one-pass grid and shifted ones.
            smaller: what was found for a step less, from which some budgets go on.
        """
        if smaller is not None and self._options.grows(steps):
            return self._growing(smaller, starts)
        count, validation = self._calibration.problem.seeds_count, self._validation.problem.seeds_count
        spent = Outlay.of(self._options, steps, seeds=count, validation=validation, given=len(starts))
        options = replace(self._options.newton, rounds=spent.rounds, many=spent.many)
        tables = self._starts(steps, starts)[: spent.starts]
        found = descend(tables, self._calibration, self._validation, options)
        found = replace(found, evaluations=spent.started + found.evaluations)
        for seeds in spent.again:
            found = self._again(found, seeds)
        return found

    def _again(self, found: Descended, seeds: int) -> Descended:
        """Move every number once more, times with them, which stayed in the rounds over many seeds."""
        options = replace(self._options.newton, rounds=(seeds,))
        more = descend([found.table], self._calibration, self._validation, options)
        return replace(more, evaluations=found.evaluations + more.evaluations)

    def _growing(self, smaller: Table, starts: Sequence[FloatArray]) -> Descended:
        """Go on from what was found for a step less, or from the best fit where that is better."""
        steps, tables = smaller.evaluations_count + 1, [self._grown(smaller)]
        options, started = self._options.growing(steps), 0
        if steps > self._options.largest:
            tables.append(self._starts(steps, starts)[0])
            count, validation = self._calibration.problem.seeds_count, self._validation.problem.seeds_count
            outlay = Outlay.growing(self._options, steps, seeds=count, validation=validation, given=len(starts))
            started = outlay.started
        found = descend(tables, self._calibration, self._validation, options)
        return replace(found, evaluations=started + found.evaluations)

    def further(self, tables: Sequence[Table], smaller: Table | None = None) -> Descended:
        """Go on from the best of some tables that were found before: only rounds over many seeds, other ones best.

        Args:
            tables: of equal length.
            smaller: what was found for a step less, which counts among them where budgets go on from it.
        """
        steps = tables[0].evaluations_count
        if smaller is not None and self._options.grows(steps):
            tables = [*tables, self._grown(smaller)]
        return descend(tables, self._calibration, self._validation, self._options.going_on(steps))

    def _grown(self, smaller: Table) -> Table:
        return grown(smaller, self._calibration.problem.time_scale)

    def _starts(self, steps: int, starts: Sequence[FloatArray]) -> list[Table]:
        """Fits on shifted grids, the one-pass grid and the given ones, and stock tables; the best first."""
        grids = [shifted(steps, shift) for shift in self._options.grid_shifts(steps)]
        span, sensitivity = self._one_pass
        grids += [best_grids(span, grids, sensitivity, self._options.fit), *starts]
        tables = [fit_rows(self._fitted, self._paths, grid, self._options.fit).table for grid in grids]
        tables += [compile_table(solver, shifted(steps, 3.0), "flow") for solver in STOCK]
        few = self._validation.take(min(self._options.screen, self._validation.problem.seeds_count))
        errors = [few.error(roll_out(few.problem, table).final, log=self._options.newton.log) for table in tables]
        return [tables[place] for place in np.argsort(errors)]
