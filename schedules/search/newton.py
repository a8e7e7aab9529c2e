"""Newton's method on a whole table: rows, net times and guidance weights together, on the true final error.

Time steps and coefficients trade against each other, so that moves of one number at a time take hundreds of rollouts
for what solving for all of them does in a few rounds. What is seen of the final samples, decoded pictures for instance,
has its derivative in every number measured by moving that (`moved`); they make Gauss and Newton's normal equations.
Each round measures other seeds and may add its equations to those of the rounds before, carried along to where the
table is now, so that a late round stands on all seeds so far at the price of its own (incremental Gauss-Newton,
Bertsekas 1996). Last come rounds over many seeds, where times stay (`pulled`): the slope is theirs, while
the curvature, which changes less on the way, is what the rounds before saw as well.

Validation seeds choose in each round whether it adds, and Marquardt's damping: the boldest step is taken that they find
as good as the best one, within half a standard error. To stay where one is counts as a step, and has no privilege: the
table as it is was chosen by these very seeds, and looks better on them than it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schedules.search.moved import moved_cost, moved_equations
from schedules.search.normal_equations import Equations
from schedules.search.pulled import pulled_cost, pulled_equations
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.table_numbers import TableNumbers
from schedules.table import FloatArray, Table

_DIVERGED = 1e30  # the error of a sampler that overflows
_AS_GOOD = 0.5  # standard errors; two give away most of what a round gains


@dataclass(frozen=True, slots=True)
class NewtonOptions:
    """Switches of the descent.

    Attributes:
        rounds: seeds whose derivatives each round measures, going through the calibration seeds again and again.
        many: seeds of each round after these, from the first, or all there are; times stay from there on.
        directions: random directions for each of those; with few seeds there are more, `sketched` in all.
        sketched: least of them, all seeds together.
        dampings: shares of the curvature added to it (Marquardt 1963), of which each round takes the best.
        gentle: the same of the rounds over many seeds.
        floor: errors below this share of the median one count as equal when seeds are weighted, as do those below the
            floor of the calibration seeds' view.
        log: pool validation errors by the geometric mean.
    """

    rounds: tuple[int, ...] = (24, 64, 96)
    many: tuple[int, ...] = (256,)
    directions: int = 2
    sketched: int = 288
    dampings: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    gentle: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    floor: float = 0.1
    log: bool = True

    def __post_init__(self) -> None:
        for name in ("rounds", "many"):
            if min(getattr(self, name), default=1) < 1:
                raise ValueError(f"{name}: each round must measure at least 1 seed, are {getattr(self, name)}")
        for name in ("directions", "sketched"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, is {getattr(self, name)}")
        for name in ("dampings", "gentle"):
            if min(getattr(self, name), default=0) <= 0:
                raise ValueError(f"{name}: must be one or more numbers above 0, are {getattr(self, name)}")
        if self.floor <= 0:
            raise ValueError(f"floor: must be above 0, is {self.floor}")

    def along(self, seeds: int) -> int:
        """Random directions for each of so many seeds."""
        return max(self.directions, -(-self.sketched // seeds))

    def finish(self, seeds: int, validation: int) -> int:
        """Rollouts that the rounds over many seeds cost.

        Args:
            seeds: for calibration.
            validation: seeds that choose.
        """
        measured = [min(each, seeds) for each in self.many]
        return sum(each * pulled_cost(self.along(each)) + len(self.gentle) * validation for each in measured)


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


def descend(
    tables: Sequence[Table],
    calibration: Split,
    validation: Split,
    options: NewtonOptions | None = None,
    *,
    done: int = 0,
) -> Descended:
    """Move every number of a table downhill in the mean logarithm of the final errors.

    A round takes `moved_cost` for each measured seed and tries `looks` steps, those over many seeds take `finish`
    rollouts. Memory: as `moved` and `pulled` say, and E + 1 latents for each measured seed.

    Args:
        tables: where to begin, one or more of equal length; stock solvers' will do. The first round is made from each,
            and the best result goes on.
        calibration: the seeds whose errors fall; their view must be smooth: pictures before they are rounded.
        validation: other seeds, which choose start and damping; seen as they are judged.
        options: the switches.
        done: leading evaluations that stay as they are, as they were made already.

    Raises:
        ValueError: in the rounds over many seeds, the network or the calibration's view lets no gradients through.
    """
    return _Descent(calibration, validation, options or NewtonOptions(), done).run(tables)


def looks(dampings: int, number: int) -> int:
    """Most steps that round `number`, from 0, tries on the validation seeds."""
    return dampings * (2 if number > 1 else 1)


@dataclass(frozen=True, eq=False)
class _State:
    """A table, what it costs on each validation seed, and what the rounds before have measured.

    Attributes:
        table: the sampler.
        costs: its errors, or their logarithms, shape (M,).
        known: equations that are carried along, in every number.
        curvature: that of gains and weights in the rounds that moved them: it changes less on the way than the slope.
    """

    table: Table
    costs: FloatArray
    known: Equations | None = None
    curvature: FloatArray | float = 0.0

    @property
    def cost(self) -> float:
        """What is judged: the mean error, or its mean logarithm."""
        return float(self.costs.mean())

    def is_worse(self, other: _State) -> bool:
        """Whether by more than what counts as equal, paired."""
        excess = self.costs - other.costs
        return bool(excess.mean() > _AS_GOOD * excess.std() / np.sqrt(len(excess)))


class _Descent:
    def __init__(self, calibration: Split, validation: Split, options: NewtonOptions, done: int) -> None:
        self._calibration, self._validation, self._options = calibration, validation, options
        self._done = done
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
        for seeds_count in self._options.many:
            best = self._finishing_round(best, seeds_count)
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
        """A step along the equations of these seeds, with what is known from other seeds or without it."""
        numbers = self._numbers(state, timed=True)
        measured = moved_equations(self._calibration, numbers, seeds, self._options.floor)
        self._spent += len(seeds) * moved_cost(state.table.evaluations_count, self._done)
        choices = [measured] if state.known is None else [measured + state.known, measured]
        staying = np.array([place.kind != "time" for place in numbers.places])
        curvature = state.curvature + measured.curvature[np.ix_(staying, staying)]
        state = replace(state, known=choices[0], curvature=curvature)
        return self._stepped(state, numbers, choices, self._options.dampings)

    def _finishing_round(self, state: _State, count: int) -> _State:
        """A step of gains and guidance weights along the slope of many seeds."""
        seeds = range(min(count, self._calibration.problem.seeds_count))
        along, numbers = self._options.along(len(seeds)), self._numbers(state, timed=False)
        measured = pulled_equations(self._calibration, numbers, seeds, self._options.floor, along)
        self._spent += len(seeds) * pulled_cost(along) * state.table.evaluations_count
        equations = measured.curved_as(measured.curvature + state.curvature)
        return self._stepped(state, numbers, [equations], self._options.gentle)

    def _numbers(self, state: _State, *, timed: bool) -> TableNumbers:
        problem = self._calibration.problem
        return TableNumbers.of(
            state.table, guided=problem.guided, time_scale=problem.time_scale, timed=timed, done=self._done
        )

    def _stepped(
        self, state: _State, numbers: TableNumbers, choices: Sequence[Equations], dampings: Sequence[float]
    ) -> _State:
        """Where the boldest step leads that is as good as the best; the state as it is comes last."""
        moved = [self._moved(numbers, each, damping) for each in choices for damping in sorted(dampings)]
        tried = [*(replace(each, curvature=state.curvature) for each in moved if each is not None), state]
        best = _best(tried)
        return next(each for each in tried if not each.is_worse(best))

    def _moved(self, numbers: TableNumbers, equations: Equations, damping: float) -> _State | None:
        """Where a step leads; None if there is no sampler."""
        step = equations.step(damping)
        table = numbers.moved(step)
        return replace(self._state(table), known=equations.after(step)) if table is not None else None

    def _state(self, table: Table) -> _State:
        drawn = roll_out(self._validation.problem, table)
        self._spent += drawn.evaluated * self._validation.problem.seeds_count
        errors = np.nan_to_num(self._validation.errors(drawn.final), nan=_DIVERGED, posinf=_DIVERGED)
        errors = errors.clip(self._validation.floor, _DIVERGED)
        return _State(table, np.log(errors) if self._options.log else errors)


def _best(states: Sequence[_State]) -> _State:
    return min(states, key=lambda state: state.cost)
