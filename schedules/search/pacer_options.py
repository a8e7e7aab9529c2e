"""The switches of Pacer's own method, and what they let it spend on one budget."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from schedules.search.fit import FitOptions
from schedules.search.moved import moved_cost
from schedules.search.newton import NewtonOptions, looks
from schedules.search.pulled import pulled_cost

STOCK = ("ab2", "unipc-2")
"""Solvers whose tables are starts too, on shift 3."""

_SHARE_OF_STARTS = 0.25
_FEWEST = 40  # seeds of a later round: fewer fit their own errors rather than everybody's
_EXTRA = (192, 128, 96, 64)  # seeds of one more round over many, where the others leave something to spend
_CHEAP = 2.0  # times what a round over many seeds costs for each of them: later rounds may move every number
_BEARABLE = 5.0  # the same where one may, after those over many seeds


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
        later: most later rounds where moving each number in turn is cheap; where it is bearable, there is one after the
            rounds over many seeds, which are then made once more.
        finishes: most rounds over many seeds.
        anchors: above so many steps odd budgets go on from what was found for a step less, up to `largest`.
        largest: most steps at which derivatives are worth their price; above, a budget goes on from the better of a fit
            and of what was found for a step less.
        beyond: seeds of each round over many that is made there.
        rounds_until: most steps at which such a round is made where a step less is known: later ones gain little.
        spend: most guided evaluations for one budget: larger ones get by with fewer starts, rounds and seeds. At
            `anchors` steps every number moves once more beyond that, since longer budgets go on from there.
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
    anchors: int = 8
    largest: int = 12
    beyond: tuple[int, ...] = (96,)
    rounds_until: int = 15
    spend: int = 62_000
    newton: NewtonOptions = field(default_factory=NewtonOptions)

    def grid_shifts(self, steps: int) -> tuple[float, ...]:
        """Shifts of the grids that a budget tries."""
        return self.shifts if steps <= self.largest else self.plain_shifts

    def grows(self, steps: int) -> bool:
        """Whether a budget goes on from what was found for a step less, where that is known."""
        return steps > self.largest or (steps > self.anchors and steps % 2 == 1)

    def growing(self, steps: int) -> NewtonOptions:
        """The descent from what was found for a step less: a round over many seeds, or none."""
        return self.going_on(steps) if steps <= self.rounds_until else replace(self.newton, rounds=(), many=())

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
        again: seeds of each round that moves every number once more, with as many last rounds after it.
        evaluations: guided evaluations, all in all.
    """

    started: int
    starts: int
    rounds: tuple[int, ...]
    many: tuple[int, ...]
    evaluations: int
    again: tuple[int, ...] = ()

    @classmethod
    def going_on(cls, options: PacerOptions, steps: int, *, seeds: int, validation: int, tables: int = 1) -> Self:
        """What going on from tables that were found before takes; arguments as in `of`."""
        newton = options.going_on(steps)
        evaluations = steps * (tables * validation + newton.finish(seeds, validation))
        return cls(0, tables, (), newton.many, evaluations)

    @classmethod
    def among(
        cls,
        options: PacerOptions,
        steps: int,
        budgets: Collection[int],
        *,
        seeds: int,
        validation: int,
        given: int = 0,
    ) -> Self:
        """What one of several budgets takes, which goes on from another or not; other arguments as in `of`."""
        outlay = cls.growing if options.grows(steps) and steps - 1 in budgets else cls.of
        return outlay(options, steps, seeds=seeds, validation=validation, given=given)

    @classmethod
    def growing(cls, options: PacerOptions, steps: int, *, seeds: int, validation: int, given: int = 0) -> Self:
        """What going on from a step less takes, with the fits that it is held against; arguments as in `of`."""
        newton, fits = options.growing(steps), steps > options.largest
        started = _started(options, steps, seeds, validation, given) if fits else 0
        look = steps * validation * (2 if fits else 1)
        return cls(started, 1, (), newton.many, started + look + steps * newton.finish(seeds, validation))

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
        started = _started(options, steps, seeds, validation, given)
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
        again, repeated = _again(options, steps, left, seeds=seeds, validation=validation)
        left -= repeated
        if not (rounds or again) and (more := _more_rounds(options, left // steps, seeds, validation)):
            many, left = more.many + many, left - steps * more.finish(seeds, validation)
        if steps == options.anchors:
            again, left = again * 2, left - repeated
        return cls(started, starts, (first, *rounds), many, options.spend - left, again)


def _started(options: PacerOptions, steps: int, seeds: int, validation: int, given: int = 0) -> int:
    """Guided evaluations to fit and rank the starts."""
    grids = len(options.grid_shifts(steps)) + 1 + given
    screened = (grids + len(STOCK)) * min(options.screen, validation)
    return steps * (grids * min(options.fit_seeds, seeds) + screened)


def _later_rounds(
    options: PacerOptions, steps: int, left: int, *, seeds: int, validation: int
) -> tuple[tuple[int, ...], int]:
    """Seeds of each later round that moves every number, and their cost; none where other rounds are far cheaper."""
    cost, look, newton = moved_cost(steps), steps * validation, options.newton
    if _price(options, steps, seeds) > _CHEAP:
        return (), 0
    fewest = min(_FEWEST, seeds) * cost
    tried = [looks(len(newton.dampings), number) for number in range(1, options.later + 1)]
    tries = [look * sum(tried[:count]) for count in range(len(tried) + 1)]
    count = max((n for n in range(1, len(tries)) if n * fewest + tries[n] <= left), default=0)
    each = min(options.most, seeds, (left - tries[count]) // (count * cost)) if count else 0
    return (each,) * count, count * each * cost + tries[count]


def _again(options: PacerOptions, steps: int, left: int, *, seeds: int, validation: int) -> tuple[tuple[int, ...], int]:
    """Seeds of one more round that moves every number, and its cost with the last rounds; none where it is too dear."""
    cost, look, newton = moved_cost(steps), steps * validation, options.newton
    if not _CHEAP < _price(options, steps, seeds) <= _BEARABLE:
        return (), 0
    besides = steps * newton.finish(seeds, validation) + (1 + looks(len(newton.dampings), 0)) * look
    measured = min(options.most, seeds, (left - besides) // cost)
    return ((measured,), measured * cost + besides) if measured >= min(_FEWEST, seeds) else ((), 0)


def _price(options: PacerOptions, steps: int, seeds: int) -> float:
    """What moving every number costs for a seed, over what a round over many seeds does."""
    return moved_cost(steps) / (steps * pulled_cost(options.newton.along(seeds)))


def _more_rounds(options: PacerOptions, left: int, seeds: int, validation: int) -> NewtonOptions | None:
    """What the rollouts left pay for before the last round over many seeds: more like it, or a smaller one."""
    whole = [options.newton.many * count for count in range(options.finishes - 1, 0, -1)]
    rounds = [*whole, *((count,) for count in _EXTRA if count <= seeds)]
    tried = (replace(options.newton, many=each) for each in rounds)
    return next((each for each in tried if each.finish(seeds, validation) <= left), None)
