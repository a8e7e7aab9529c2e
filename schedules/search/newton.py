"""Newton's method on a whole table: rows, net times and guidance weights together, on the true final error.

Time steps and coefficients trade against each other, so that moves of one number at a time take hundreds of rollouts
for what solving for all of them does in a few rounds. What is seen of the final samples, decoded pictures for instance,
has its derivative in every number measured by moving that, which repeats the evaluations after it and none before it;
they make Gauss and Newton's normal equations. Marquardt's damping is chosen anew in each round on validation seeds, and
a round that gains nothing there is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import Rollout, roll_out
from schedules.search.table_numbers import TableNumbers
from schedules.table import FloatArray, Table

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class NewtonOptions:
    """Switches of the descent.

    Attributes:
        rounds: seeds whose derivatives each round measures, the first ones of the calibration seeds.
        dampings: shares of the curvature added to it (Marquardt 1963), of which each round takes the best.
        floor: errors below this share of the median one count as equal when seeds are weighted, as do those below the
            floor of the calibration seeds' view.
        log: pool validation errors by the geometric mean.
    """

    rounds: tuple[int, ...] = (24, 64, 96)
    dampings: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    floor: float = 0.1
    log: bool = True

    def __post_init__(self) -> None:
        if self.rounds and min(self.rounds) < 1:
            raise ValueError(f"rounds: each must measure at least 1 seed, are {self.rounds}")
        if not self.dampings or min(self.dampings) <= 0:
            raise ValueError(f"dampings: must be one or more numbers above 0, are {self.dampings}")
        if self.floor <= 0:
            raise ValueError(f"floor: must be above 0, is {self.floor}")


@dataclass(frozen=True, eq=False)
class Descended:
    """The table that was best on the validation seeds.

    Attributes:
        table: the sampler.
        validation_error: its pooled final error there.
        evaluations: guided evaluations spent, all seeds together.
    """

    table: Table
    validation_error: float
    evaluations: int


def derivatives_cost(evaluations: int) -> int:
    """Guided evaluations of one seed for all derivatives of a table with E of them: about E^3 / 6 + E^2."""
    after = range(evaluations - 1, -1, -1)  # evaluations after row k
    return evaluations + sum((k + 2) * later + 2 * (later + 1) for k, later in enumerate(after))


def descend(
    tables: Sequence[Table], calibration: Split, validation: Split, options: NewtonOptions | None = None
) -> Descended:
    """Move every number of a table downhill in the mean logarithm of the final errors.

    A round takes `derivatives_cost` for each measured seed. Memory: E^2 / 2 + 3 E views of a final sample in float32
    for each seed of a batch, E + 1 latents for each measured seed, and the network's activations for one call.

    Args:
        tables: where to begin, one or more of equal length; stock solvers' will do. The first round is made from each,
            and the best result goes on.
        calibration: the seeds whose errors fall; their view must be smooth: pictures before they are rounded.
        validation: other seeds, which choose start, damping and round; seen as they are judged.
        options: the switches.
    """
    return _Descent(calibration, validation, options or NewtonOptions()).run(tables)


@dataclass(frozen=True, eq=False)
class _State:
    """A table and its validation error."""

    table: Table
    error: float


@dataclass(frozen=True, eq=False)
class _Part:
    """Some of the measured seeds: what a table draws from them, how far off that is, and each seed's error."""

    problem: SearchProblem
    drawn: Rollout
    seen: Tensor
    off: Tensor
    errors: FloatArray


class _Descent:
    def __init__(self, calibration: Split, validation: Split, options: NewtonOptions) -> None:
        self._calibration, self._validation, self._options = calibration, validation, options
        self._spent = 0

    def run(self, tables: Sequence[Table]) -> Descended:
        states = [self._state(table) for table in tables]
        for seeds in self._options.rounds:
            states = [min((self._round(state, seeds) for state in states), key=lambda state: state.error)]
        best = min(states, key=lambda state: state.error)
        return Descended(best.table, best.error, self._spent)

    def _round(self, state: _State, seeds: int) -> _State:
        """The best of the damped steps, or the state as it is."""
        problem = self._calibration.problem
        numbers = TableNumbers.of(state.table, guided=problem.guided, time_scale=problem.time_scale)
        curvature, downhill = self._normal_equations(numbers, min(seeds, problem.seeds_count))
        moved = [numbers.moved(_solved(curvature, damping, downhill)) for damping in self._options.dampings]
        return min([state, *(self._state(table) for table in moved if table is not None)], key=lambda each: each.error)

    def _normal_equations(self, numbers: TableNumbers, count: int) -> tuple[FloatArray, FloatArray]:
        """J' W J and -J' W r over the first `count` seeds, shapes (P, P) and (P,), batch by batch."""
        starts = range(0, count, self._calibration.problem.batch)
        parts = [self._part(numbers.table, start, min(start + starts.step, count)) for start in starts]
        floor = max(self._options.floor * float(np.median(np.concatenate([part.errors for part in parts]))), _TINY)
        floor = max(floor, self._calibration.floor)
        curvature, downhill = np.zeros((len(numbers.places),) * 2), np.zeros(len(numbers.places))
        for part in parts:
            inner, right = self._summed(numbers, part, 2 / (count * (part.errors + floor)))
            curvature, downhill = curvature + inner, downhill - right
        return curvature, downhill

    def _part(self, table: Table, start: int, stop: int) -> _Part:
        problem = self._calibration.problem.take(stop).drop(start)
        drawn = roll_out(problem, table)
        self._spent += drawn.evaluated * problem.seeds_count
        seen = self._calibration.view(drawn.final)
        off = (seen - self._calibration.target[start:stop]).flatten(1)
        return _Part(problem, drawn, seen, off, off.double().square().mean(1).cpu().numpy())

    def _summed(self, numbers: TableNumbers, part: _Part, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """J' W J and J' W r of a part, a mean over what is seen of each seed."""
        roots = torch.tensor(np.sqrt(weights / part.off.shape[1]), dtype=part.off.dtype, device=part.off.device)
        columns = part.off.new_empty((len(numbers.places), *part.off.shape))
        for place, each in enumerate(self._derivatives(numbers, part)):
            columns[place] = each * roots[:, None]
        inner, right = np.zeros((len(columns),) * 2), np.zeros(len(columns))
        for column, off in zip(columns.unbind(1), part.off * roots[:, None], strict=True):
            wide = column.double()
            inner, right = inner + (wide @ wide.T).cpu().numpy(), right + (wide @ off.double()).cpu().numpy()
        return inner, right

    def _derivatives(self, numbers: TableNumbers, part: _Part) -> Iterator[Tensor]:
        for place, step in numbers.steps():
            ahead = roll_out(part.problem, numbers.nudged(place, step), after=part.drawn)
            self._spent += ahead.evaluated * part.problem.seeds_count
            yield ((self._calibration.view(ahead.final) - part.seen) / step).flatten(1)

    def _state(self, table: Table) -> _State:
        drawn = roll_out(self._validation.problem, table)
        self._spent += drawn.evaluated * self._validation.problem.seeds_count
        error = self._validation.error(drawn.final, log=self._options.log)
        return _State(table, error if np.isfinite(error) else float("inf"))


def _solved(curvature: FloatArray, damping: float, downhill: FloatArray) -> FloatArray:
    """Marquardt's step; numbers without any effect stay."""
    damped = curvature + damping * np.diag(np.diag(curvature))
    return np.asarray(np.linalg.lstsq(damped, downhill, rcond=None)[0])
