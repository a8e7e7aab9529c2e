"""The switches of Pacer's own method, and what they let it spend on one budget."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from schedules.search.fit import FitOptions
from schedules.search.moved import moved_cost
from schedules.search.newton import NewtonOptions, looks
from schedules.search.pulled import pulled_cost

STOCK = ("ab2", "unipc-2")
"""Solvers whose tables are starts too, on shift 3."""

_SHARE_OF_STARTS = 0.35
_FEWEST = 40  # seeds of a later round: fewer fit their own errors rather than everybody's
_EXTRA = (192, 128, 96, 64)  # seeds of one more round over many, where the others leave something to spend
_CHEAP = 2.0  # times what a round over many seeds costs for each of them


@dataclass(frozen=True, slots=True)
class PacerOptions:
    """Switches of the method.

    Attributes:
        fit: of the coefficients.
        fit_seeds: calibration seeds that coefficients and one-pass grids are fitted to.
        screen: validation seeds that choose among starts.
        shifts: of the grids that are tried.
        plain_shifts: the same at more steps than `largest`.
        starts: most starts that the first round is made from.
        first: seeds whose derivatives the first round measures.
        most: the same for each later round, which measures other seeds.
        later: most later rounds, which are made only where moving each number in turn is cheap.
        finishes: most rounds over many seeds.
        largest: most steps at which derivatives are worth their price; above, what was found for a step less goes on.
        beyond: seeds of each round over many that is made there.
        spend: most guided evaluations for one budget: larger ones get by with fewer starts, rounds and seeds.
        newton: of the descent; its rounds but the last over many seeds are set from the above.
    """

    fit: FitOptions = field(default_factory=lambda: FitOptions(ridge=1e-4))
    fit_seeds: int = 32
    screen: int = 32
    shifts: tuple[float, ...] = (1.5, 2.0, 2.3, 2.5, 2.7, 3.0, 3.5)
    plain_shifts: tuple[float, ...] = (2.0, 2.5, 3.0)
    starts: int = 3
    first: int = 24
    most: int = 64
    later: int = 3
    finishes: int = 2
    largest: int = 12
    beyond: tuple[int, ...] = (96,)
    spend: int = 42_000
    newton: NewtonOptions = field(default_factory=NewtonOptions)

    def grid_shifts(self, steps: int) -> tuple[float, ...]:
        """Shifts of the grids that a budget tries."""
        return self.shifts if steps <= self.largest else self.plain_shifts

    def going_on(self, steps: int) -> NewtonOptions:
        """The descent from a table that was found before: only rounds over many seeds."""
        return replace(self.newton, rounds=(), many=self.newton.many if steps <= self.largest else self.beyond)


@dataclass(frozen=True, slots=True)
class Outlay:
    """How a budget of steps is searched.

    Attributes:
        started: guided evaluations to fit and rank the starts.
        starts: from how many of them the first round is made.
        rounds: seeds that each round measures.
        many: the same of the last rounds, over many seeds.
        evaluations: guided evaluations, all in all.
    """

    started: int
    starts: int
    rounds: tuple[int, ...]
    many: tuple[int, ...]
    evaluations: int

    @classmethod
    def going_on(cls, options: PacerOptions, steps: int, *, seeds: int, validation: int, tables: int = 1) -> Self:
        """What going on from tables that were found before takes; arguments as in `of`."""
        newton = options.going_on(steps)
        evaluations = steps * (tables * validation + newton.finish(seeds, validation))
        return cls(0, tables, (), newton.many, evaluations)

    @classmethod
    def of(cls, options: PacerOptions, steps: int, *, seeds: int, validation: int, given: int = 0) -> Self:
        """What the switches allow.

        Args:
            options: the switches.
            steps: the budget.
            seeds: for calibration.
            validation: seeds that choose.
            given: grids to begin with beside the method's own.
        """
        grids = len(options.grid_shifts(steps)) + 1 + given
        screened = (grids + len(STOCK)) * min(options.screen, validation)
        started = steps * (grids * min(options.fit_seeds, seeds) + screened)
        if steps > options.largest:
            further = cls.going_on(options, steps, seeds=seeds, validation=validation)
            return replace(further, started=started, evaluations=started + further.evaluations)
        cost, look = moved_cost(steps), steps * validation
        finish = steps * options.newton.finish(seeds, validation)
        dampings, left = len(options.newton.dampings), options.spend - started - finish
        first = min(options.first, seeds)
        begun = first * cost + (1 + looks(dampings, 0)) * look
        starts = int(np.clip(_SHARE_OF_STARTS * left // begun, 1, options.starts))
        left -= starts * begun
        rounds, moved = _later_rounds(options, steps, left, seeds=seeds, validation=validation)
        many, left = options.newton.many, left - moved
        if not rounds and (more := _more_rounds(options, left // steps, seeds, validation)):
            many, left = more.many + many, left - steps * more.finish(seeds, validation)
        return cls(started, starts, (first, *rounds), many, options.spend - left)


def _later_rounds(
    options: PacerOptions, steps: int, left: int, *, seeds: int, validation: int
) -> tuple[tuple[int, ...], int]:
    """Seeds of each later round that moves every number, and their cost; none where other rounds are far cheaper."""
    cost, look, newton = moved_cost(steps), steps * validation, options.newton
    if cost > _CHEAP * steps * pulled_cost(newton.along(seeds)):
        return (), 0
    fewest = min(_FEWEST, seeds) * cost
    tried = [looks(len(newton.dampings), number) for number in range(1, options.later + 1)]
    tries = [look * sum(tried[:count]) for count in range(len(tried) + 1)]
    count = max((n for n in range(1, len(tries)) if n * fewest + tries[n] <= left), default=0)
    each = min(options.most, seeds, (left - tries[count]) // (count * cost)) if count else 0
    return (each,) * count, count * each * cost + tries[count]


def _more_rounds(options: PacerOptions, left: int, seeds: int, validation: int) -> NewtonOptions | None:
    """What the rollouts left pay for before the last round over many seeds: more like it, or a smaller one."""
    whole = [options.newton.many * count for count in range(options.finishes - 1, 0, -1)]
    rounds = [*whole, *((count,) for count in _EXTRA if count <= seeds)]
    tried = (replace(options.newton, many=each) for each in rounds)
    return next((each for each in tried if each.finish(seeds, validation) <= left), None)
