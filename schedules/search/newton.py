"""Newton's method on a whole table: rows, net times and guidance weights together, on the true final error.

Time steps and coefficients trade against each other, so that moves of one number at a time take hundreds of rollouts
for what solving for all of them does in a few rounds. What is seen of the final samples, decoded pictures for instance,
has its derivative in every number measured by moving that, which repeats the evaluations after it and none before it;
they make Gauss and Newton's normal equations. Each round measures other seeds and may add its equations to those of
the rounds before, carried along to where the table is now, so that a late round stands on all seeds so far at the price
of its own (incremental Gauss-Newton, Bertsekas 1996). Validation seeds choose in each round whether it does, and
Marquardt's damping: the boldest step is taken that they do not find significantly worse than the best one. Whichever
they like best would after some rounds be fitted to them rather than to everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import Rollout, roll_out
from schedules.search.table_numbers import TableNumbers
from schedules.table import FloatArray, Table

_TINY = 1e-12
_DIVERGED = 1e30  # the error of a sampler that overflows
_SIGNIFICANT = 2.0  # standard errors


@dataclass(frozen=True, slots=True)
class NewtonOptions:
    """Switches of the descent.

    Attributes:
        rounds: seeds whose derivatives each round measures, going through the calibration seeds again and again.
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
    """What the descent came to.

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

    A round takes `derivatives_cost` for each measured seed and tries `looks` steps. Memory: E^2 / 2 + 3 E views of a
    final sample in float32 for each seed of a batch, E + 1 latents for each measured seed, and the network's
    activations for one call.

    Args:
        tables: where to begin, one or more of equal length; stock solvers' will do. The first round is made from each,
            and the best result goes on.
        calibration: the seeds whose errors fall; their view must be smooth: pictures before they are rounded.
        validation: other seeds, which choose start and damping; seen as they are judged.
        options: the switches.
    """
    return _Descent(calibration, validation, options or NewtonOptions()).run(tables)


def looks(dampings: int, number: int) -> int:
    """Most steps that round `number`, from 0, tries on the validation seeds."""
    return dampings * (2 if number > 1 else 1)


@dataclass(frozen=True, eq=False)
class _Equations:
    """Normal equations at a table, sums over seeds: curvature (P, P) and downhill slope (P,)."""

    curvature: FloatArray
    downhill: FloatArray

    def __add__(self, other: _Equations) -> _Equations:
        return _Equations(self.curvature + other.curvature, self.downhill + other.downhill)

    def after(self, step: FloatArray) -> _Equations:
        """The same parabola seen from where the step leads."""
        return replace(self, downhill=self.downhill - self.curvature @ step)

    def step(self, damping: float) -> FloatArray:
        """Marquardt's; numbers without any effect stay."""
        damped = self.curvature + damping * np.diag(np.diag(self.curvature))
        return np.asarray(np.linalg.lstsq(damped, self.downhill, rcond=None)[0])


@dataclass(frozen=True, eq=False)
class _State:
    """A table, what it costs on each validation seed, shape (M,), and what the rounds before have measured."""

    table: Table
    costs: FloatArray
    known: _Equations | None = None

    @property
    def cost(self) -> float:
        """What is judged: the mean error, or its mean logarithm."""
        return float(self.costs.mean())

    def is_worse(self, other: _State) -> bool:
        """Whether by more than chance, paired."""
        excess = self.costs - other.costs
        return bool(excess.mean() > _SIGNIFICANT * excess.std() / np.sqrt(len(excess)))


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
        for number, seeds in enumerate(self._windows()):
            if not seeds.start:  # seeds that were measured before must not count twice
                states = [replace(state, known=None) for state in states]
            best = _best([self._round(state, seeds) for state in states])
            # The first round leaps too far for what it measured to hold where it lands.
            states = [best if number else replace(best, known=None)]
        best = _best(states)
        error = np.exp(best.cost) if self._options.log else best.cost
        return Descended(best.table, float(error), self._spent)

    def _windows(self) -> Iterator[range]:
        """Each round's seeds: the next ones, and from the first again after the last."""
        count, start = self._calibration.problem.seeds_count, 0
        for seeds in self._options.rounds:
            start = min(start, count - min(seeds, count))
            yield range(start, min(start + seeds, count))
            start = (start + seeds) % count

    def _round(self, state: _State, seeds: range) -> _State:
        """Where the boldest step leads that is not significantly worse than the best; the state as it is comes last."""
        problem = self._calibration.problem
        numbers = TableNumbers.of(state.table, guided=problem.guided, time_scale=problem.time_scale)
        measured = self._equations(numbers, seeds)
        choices = [measured] if state.known is None else [measured + state.known, measured]
        moved = [self._moved(numbers, each, damping) for each in choices for damping in sorted(self._options.dampings)]
        tried = [*(each for each in moved if each is not None), replace(state, known=choices[0])]
        best = _best(tried)
        return next(each for each in tried if not each.is_worse(best))

    def _moved(self, numbers: TableNumbers, equations: _Equations, damping: float) -> _State | None:
        """Where a step leads; None if there is no sampler."""
        step = equations.step(damping)
        table = numbers.moved(step)
        return replace(self._state(table), known=equations.after(step)) if table is not None else None

    def _equations(self, numbers: TableNumbers, seeds: range) -> _Equations:
        """J' W J and -J' W r, batch by batch."""
        starts = range(seeds.start, seeds.stop, self._calibration.problem.batch)
        parts = [self._part(numbers.table, start, min(start + starts.step, seeds.stop)) for start in starts]
        floor = max(self._options.floor * float(np.median(np.concatenate([part.errors for part in parts]))), _TINY)
        floor = max(floor, self._calibration.floor)
        count = len(numbers.places)
        total = _Equations(np.zeros((count, count)), np.zeros(count))
        for part in parts:
            total += self._summed(numbers, part, 2 / (part.errors + floor))
        return total

    def _part(self, table: Table, start: int, stop: int) -> _Part:
        problem = self._calibration.problem.take(stop).drop(start)
        drawn = roll_out(problem, table)
        self._spent += drawn.evaluated * problem.seeds_count
        seen = self._calibration.view(drawn.final)
        off = (seen - self._calibration.target[start:stop]).flatten(1)
        return _Part(problem, drawn, seen, off, off.double().square().mean(1).cpu().numpy())

    def _summed(self, numbers: TableNumbers, part: _Part, weights: FloatArray) -> _Equations:
        """The equations of a part, a mean over what is seen of each seed."""
        roots = torch.tensor(np.sqrt(weights / part.off.shape[1]), dtype=part.off.dtype, device=part.off.device)
        columns = part.off.new_empty((len(numbers.places), *part.off.shape))
        for place, each in enumerate(self._derivatives(numbers, part)):
            columns[place] = each * roots[:, None]
        inner, right = np.zeros((len(columns),) * 2), np.zeros(len(columns))
        for column, off in zip(columns.unbind(1), part.off * roots[:, None], strict=True):
            wide = column.double()
            inner, right = inner + (wide @ wide.T).cpu().numpy(), right + (wide @ off.double()).cpu().numpy()
        return _Equations(inner, -right)

    def _derivatives(self, numbers: TableNumbers, part: _Part) -> Iterator[Tensor]:
        for place, step in numbers.steps():
            ahead = roll_out(part.problem, numbers.nudged(place, step), after=part.drawn)
            self._spent += ahead.evaluated * part.problem.seeds_count
            yield ((self._calibration.view(ahead.final) - part.seen) / step).flatten(1)

    def _state(self, table: Table) -> _State:
        drawn = roll_out(self._validation.problem, table)
        self._spent += drawn.evaluated * self._validation.problem.seeds_count
        errors = np.nan_to_num(self._validation.errors(drawn.final), nan=_DIVERGED, posinf=_DIVERGED)
        errors = errors.clip(self._validation.floor, _DIVERGED)
        return _State(table, np.log(errors) if self._options.log else errors)


def _best(states: Sequence[_State]) -> _State:
    return min(states, key=lambda state: state.cost)
