"""The switches of Pacer's own method, and what they let it spend on one budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from schedules.search.fit import FitOptions
from schedules.search.newton import NewtonOptions, derivatives_cost

STOCK = ("ab2", "unipc-2")
"""Solvers whose tables are starts too, on shift 3."""

_SHARE_OF_STARTS = 0.45
_FEWEST = 48  # seeds of a later round: fewer fit their own errors rather than everybody's


@dataclass(frozen=True, slots=True)
class PacerOptions:
    """Switches of the method.

    Attributes:
        fit: of the coefficients.
        fit_seeds: calibration seeds that coefficients and one-pass grids are fitted to.
        screen: validation seeds that choose among starts.
        shifts: of the grids that are tried.
        starts: most starts that the first round is made from.
        first: seeds whose derivatives the first round measures.
        most: the same for each later round.
        later: most later rounds.
        largest: most steps to descend at; the best start serves above.
        spend: most guided evaluations for one budget: larger ones get by with fewer starts, rounds and seeds.
        newton: of the descent; its rounds are set from the above.
    """

    fit: FitOptions = field(default_factory=lambda: FitOptions(ridge=1e-4))
    fit_seeds: int = 48
    screen: int = 32
    shifts: tuple[float, ...] = (1.5, 2.0, 2.3, 2.5, 2.7, 3.0, 3.5)
    starts: int = 3
    first: int = 24
    most: int = 128
    later: int = 3
    largest: int = 12
    spend: int = 46_000
    newton: NewtonOptions = field(default_factory=NewtonOptions)


@dataclass(frozen=True, slots=True)
class Outlay:
    """How a budget of steps is searched.

    Attributes:
        started: guided evaluations to fit and rank the starts.
        starts: from how many of them the first round is made.
        rounds: seeds that each round measures.
        evaluations: guided evaluations, all in all.
    """

    started: int
    starts: int
    rounds: tuple[int, ...]
    evaluations: int

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
        grids = len(options.shifts) + 1 + given
        screened = (grids + len(STOCK)) * min(options.screen, validation)
        started = steps * (grids * min(options.fit_seeds, seeds) + screened)
        if steps > options.largest:
            return cls(started, 1, (), started + steps * validation)
        cost, looks = derivatives_cost(steps), steps * validation * len(options.newton.dampings)
        left, first = options.spend - started, min(options.first, seeds)
        starts = int(np.clip(_SHARE_OF_STARTS * left // (first * cost + looks), 1, options.starts))
        left -= starts * (first * cost + looks)
        count = int(np.clip(left // (min(_FEWEST, seeds) * cost + looks), 0, options.later))
        each = min(options.most, seeds, (left // count - looks) // cost) if count else 0
        spent = starts * (first * cost + looks + steps * validation) + count * (each * cost + looks)
        return cls(started, starts, (first, *(each,) * count), started + spent)
