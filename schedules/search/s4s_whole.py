"""S4S-Alt over the whole history, with as much to spend as Pacer's own search: the strongest rival of its kind.

Like Pacer's it moves coefficients, noise levels and the net's times towards the least error of the result, but by
gradients alone: each step follows the slope of a few seeds, where Gauss and Newton's solves for all numbers at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from schedules.grids import shifted
from schedules.search.descent import Descent, DescentOptions
from schedules.search.method import Samplers
from schedules.search.pacer_options import PacerOptions
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.s4s import Multistep
from schedules.search.teacher import Teacher

Turn = Literal["coefficients", "times", "together"]


@dataclass(frozen=True, slots=True)
class WholeOptions:
    """Switches of the method.

    Attributes:
        spend: most guided evaluations for one budget, unless a single round takes more; Pacer's own by default.
        shifts: of the grids that may be the start, under Adams and Bashforth's coefficients of order 2.
        turns: what moves in a round, over and over again. The paper's are the coefficients and the times; all together
            came 1 dB nearer on digits-8 and the exact mixture than the three in turn.
        rates: Adam's first steps on the coefficients, relative to a whole step, and on log-gaps and times; they fall to
            0 along half a cosine.
        descent: the seeds, those of a round, the ball that the student's noise may move in, and the loss.
    """

    spend: int = field(default_factory=lambda: PacerOptions().spend)
    shifts: tuple[float, ...] = (1.0, 1.5, 2.0, 2.5, 3.0)
    turns: tuple[Turn, ...] = ("together",)
    rates: tuple[float, float] = (0.03, 0.06)
    descent: DescentOptions = field(default_factory=lambda: DescentOptions(each=96))

    def __post_init__(self) -> None:
        for name in ("shifts", "turns"):
            if not getattr(self, name):
                raise ValueError(f"{name}: must be at least one")
        if min(self.rates) <= 0:
            raise ValueError(f"rates: must be above 0, are {self.rates}")

    def rounds(self, steps: int, seeds: int) -> int:
        """How many there are for a budget with so many calibration seeds, at least one."""
        return max(1, (self.spend - self._start(steps, seeds)) // self._round(steps, seeds))

    def cost(self, steps: int, seeds: int) -> int:
        """Guided evaluations that a budget takes, ways back among them."""
        return self._start(steps, seeds) + self.rounds(steps, seeds) * self._round(steps, seeds)

    def _start(self, steps: int, seeds: int) -> int:
        return (len(self.shifts) + 1) * self.descent.shares(seeds)[1] * steps

    def _round(self, steps: int, seeds: int) -> int:
        training, validation = self.descent.shares(seeds)
        return (3 * min(self.descent.each or training, training) + validation) * steps


def s4s_whole(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    calibration: Split | None = None,
    options: WholeOptions | None = None,
) -> Samplers:
    """S4S-Alt (Frankel et al. 2025, equations 8 and 11), every step over all outputs, begun at the best of some grids.

    The loss is that of `s4s`.

    A quarter of the M seeds, V of them, chooses the start and when to stop; C others are trained on in a round. Each
    budget of S steps takes ((grids + 1) V + rounds (3 C + V)) S guided evaluations: there, again on the way back, and
    the way back itself. `spend` says how many rounds that are: with 37,200 and 256 seeds 9 for 10 steps, 35,520.
    Memory: 2 S + 1 latents for each seed of a batch, and the activations of the network's call, or of the view's.

    Args:
        teacher: the calibration seeds' results; the states between are not read.
        problem: the same seeds; gradients must pass through its network.
        budgets: numbers of steps.
        calibration: where the final errors of `problem` are compared, as in `s4s`.
        options: the switches.

    Raises:
        ValueError: the network or the view lets no gradients through.
    """
    chosen = options or WholeOptions()
    found = {}
    for budget in budgets:
        descent = Descent(teacher, problem, budget, chosen.descent, calibration)
        solver = _start(descent, budget, chosen)
        _descend(descent, solver, chosen, chosen.rounds(budget, problem.seeds_count))
        found[budget] = solver.student().sampler()
    return found


def _start(descent: Descent, steps: int, options: WholeOptions) -> Multistep:
    """The grid that the validation seeds like best."""
    starts = [Multistep.adams(shifted(steps, shift), steps) for shift in options.shifts]
    return min(starts, key=lambda start: descent.validation_error(start.student))


def _descend(descent: Descent, solver: Multistep, options: WholeOptions, rounds: int) -> None:
    """One descent over all numbers; those whose turn it is not have a rate of 0."""
    groups = {"coefficients": [solver.coefficients], "times": solver.times}
    moving = [number for group in groups.values() for number in group]
    optimiser = torch.optim.Adam([{"params": group} for group in groups.values()])

    def rates(number: int) -> list[float]:
        turn, left = options.turns[number % len(options.turns)], (1 + math.cos(math.pi * number / rounds)) / 2
        return [
            left * rate if turn in (name, "together") else 0.0 for name, rate in zip(groups, options.rates, strict=True)
        ]

    descent.run(solver.student, moving, optimiser, rounds, rates)
