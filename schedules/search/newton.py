"""Newton's method on a whole table: rows, net times and guidance weights together, on the true final error.

Time steps and coefficients trade against each other, so that moves of one number at a time take hundreds of rollouts
for what solving for all of them does in a few rounds. The final samples' derivatives in every number are measured by
moving it, which repeats the evaluations after it and none before it; they make Gauss and Newton's normal equations.
Later rounds keep their curvature, which only says how far to go, and take the gradient of many more seeds by one pass
back through their rollouts. Marquardt's damping is chosen anew in each round on validation seeds, and a round that
gains nothing there is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from schedules.search.evaluate import seed_errors
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import Rollout, roll_out
from schedules.search.slope import slope
from schedules.search.table_numbers import TableNumbers
from schedules.table import FloatArray, Table

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a descent.

    Attributes:
        measured: seeds whose derivatives are measured, the first ones; 0 keeps the curvature of the round before.
        counted: seeds whose gradient is followed; as many as measured ones, or by a pass back through their rollouts.
    """

    measured: int
    counted: int


@dataclass(frozen=True, slots=True)
class NewtonOptions:
    """Switches of the descent.

    Attributes:
        rounds: in their order; the first must measure derivatives.
        dampings: shares of the curvature added to it (Marquardt 1963), of which each round takes the best.
        floor: errors below this share of the median one count as equal when seeds are weighted.
        log: pool validation errors by the geometric mean.
    """

    rounds: tuple[Round, ...] = (Round(48, 48), Round(96, 96), Round(0, 256))
    dampings: tuple[float, ...] = (1e-4, 1e-2, 1.0)
    floor: float = 0.1
    log: bool = True

    def __post_init__(self) -> None:
        if self.rounds and self.rounds[0].measured < 1:
            raise ValueError("rounds: the first must measure the derivatives of at least 1 seed")
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
    tables: Sequence[Table],
    target: Tensor,
    calibration: Split,
    validation: Split,
    options: NewtonOptions | None = None,
) -> Descended:
    """Move every number of a table downhill in the mean logarithm of the final latent errors.

    A round takes `derivatives_cost` for each measured seed; 3 E for each counted one where their gradient is separate.
    Memory: (E^2 / 2 + 3 E) latents in float64 for each measured seed, 2 E + 1 for each counted seed of a batch, and
    the network's activations for one call.

    Args:
        tables: where to begin, one or more of equal length; stock solvers' will do. The first round is made from each,
            and the best result goes on.
        target: what the teacher drew from the calibration seeds, latents of shape (M, *latent).
        calibration: the seeds whose errors fall.
        validation: other seeds, which choose damping and round.
        options: the switches.

    Raises:
        ValueError: a separate gradient is asked for and the network lets none through.
    """
    return _Descent(tables, target, calibration, validation, options or NewtonOptions()).run()


@dataclass(frozen=True, eq=False)
class _State:
    """A table, its validation error, and the curvature that was last measured, with the floor of its weights."""

    table: Table
    error: float
    curvature: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    floor: float = _TINY


class _Descent:
    def __init__(
        self, tables: Sequence[Table], target: Tensor, calibration: Split, validation: Split, options: NewtonOptions
    ) -> None:
        self._target, self._options = target, options
        self._problem, self._validation = calibration.problem, validation
        self._spent = 0
        self._states = [_State(table, self._validate(table)) for table in tables]

    def run(self) -> Descended:
        states = self._states
        for each in self._options.rounds:
            states = [min((self._round(state, each) for state in states), key=lambda state: state.error)]
        best = min(states, key=lambda state: state.error)
        return Descended(best.table, best.error, self._spent)

    def _limit(self, seeds: int) -> int:
        return min(seeds, self._problem.seeds_count)

    def _round(self, state: _State, each: Round) -> _State:
        """The best of the damped steps, or the state as it is."""
        problem = self._problem
        numbers = TableNumbers.of(state.table, guided=problem.guided, time_scale=problem.time_scale)
        measured, counted = self._limit(each.measured), self._limit(each.counted)
        if measured:
            state, downhill = self._normal_equations(state, numbers, measured)
        if counted != measured:
            downhill = -slope(problem.take(counted), numbers, self._target[:counted], floor=state.floor)
            self._spent += 3 * numbers.table.evaluations_count * counted
        moved = [numbers.moved(_solved(state.curvature, damping, downhill)) for damping in self._options.dampings]
        tried = [replace(state, table=table, error=self._validate(table)) for table in moved if table is not None]
        return min([state, *tried], key=lambda each: each.error)

    def _normal_equations(self, state: _State, numbers: TableNumbers, count: int) -> tuple[_State, FloatArray]:
        """J' W J, kept, and -J' W r over the first `count` seeds, shape (P,)."""
        few, target = self._problem.take(count), self._target[:count]
        base = roll_out(few, numbers.table)
        self._spent += base.evaluated * count
        errors = seed_errors(base.final, target)
        floor = self._options.floor * float(np.median(errors)) + _TINY
        weights = 2 / (count * target[0].numel() * (errors + floor))
        roots = torch.tensor(np.sqrt(weights), dtype=target.dtype, device=target.device)[:, None]
        columns = torch.stack([(each * roots).flatten() for each in self._derivatives(few, numbers, base)]).double()
        residual = ((base.final - target).flatten(1) * roots).flatten().double()
        curvature = np.asarray((columns @ columns.T).cpu().numpy())
        return replace(state, curvature=curvature, floor=floor), -np.asarray((columns @ residual).cpu().numpy())

    def _derivatives(self, problem: SearchProblem, numbers: TableNumbers, base: Rollout) -> Iterator[Tensor]:
        for place, step in numbers.steps():
            ahead = roll_out(problem, numbers.nudged(place, step), after=base)
            self._spent += ahead.evaluated * problem.seeds_count
            yield ((ahead.final - base.final) / step).flatten(1)

    def _validate(self, table: Table) -> float:
        drawn = roll_out(self._validation.problem, table)
        self._spent += drawn.evaluated * self._validation.problem.seeds_count
        error = self._validation.error(drawn.final, log=self._options.log)
        return error if np.isfinite(error) else float("inf")


def _solved(curvature: FloatArray, damping: float, downhill: FloatArray) -> FloatArray:
    """Marquardt's step; numbers without any effect stay."""
    damped = curvature + damping * np.diag(np.diag(curvature))
    return np.asarray(np.linalg.lstsq(damped, downhill, rcond=None)[0])
