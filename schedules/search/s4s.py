"""S4S: multistep coefficients, and times, learned by gradient through the student's rollout (Frankel et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch
from torch import Tensor

from schedules.compile.adams import adams_weights
from schedules.grids import shifted
from schedules.search.descent import Descent, DescentOptions, Student
from schedules.search.grid_parameters import levels, log_gaps, nudged
from schedules.search.method import Samplers
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

Grid = Callable[[int], FloatArray]
"""From a number of steps to noise levels from 1 to 0."""

SHIFT_3: Grid = partial(shifted, shift=3.0)


def s4s(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    calibration: Split | None = None,
    alternate: bool = False,
    order: int | None = 3,
    grid: Grid = SHIFT_3,
    rounds: int = 12,
    rate: float = 0.03,
    options: DescentOptions | None = None,
) -> Samplers:
    """S4S, and S4S-Alt with `alternate` (Frankel et al. 2025, equations 8 and 11): coefficients by gradient descent.

    x_{k+1} = x_k + (sigma_{k+1} - sigma_k) sum_j b_{k,j} v_{k-j}, with b at first Adams and Bashforth's. With the whole
    history it is the space of NeuralSolver (Wang et al. 2025) and, but for a scale, of BNS (Shaul et al. 2024).

    The loss is the mean over seeds of the logarithm of the squared error, in what `calibration` shows: of pictures the
    PSNR, which is BNS's loss and what the bench ranks by. S4S's own are LPIPS and the squared error.

    Each budget of S steps takes 1.75 x rounds x seeds x S guided steps, since each is made again on the way back, which
    costs as much once more: 64 seeds, 12 rounds and 8 steps are 10,800, and the time of 15,400. Memory: 2 S + 1
    latents for each seed of a batch, and the activations of the network's call, or of the view's.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds; gradients must pass through its network.
        budgets: numbers of steps.
        calibration: where the final errors of `problem` are compared, by a view that gradients pass through; pictures
            before rounding for instance, latents by default. It also says when to stop.
        alternate: learn the noise levels and the network's own times as well, in turns with the coefficients.
        order: how many outputs a step uses, at most; None for all.
        grid: the noise levels, or where they begin.
        rounds: passes over the training seeds.
        rate: Adam's step on the coefficients, relative to a whole step; half of it on log-gaps.
        options: the seeds, the ball that the student's noise may move in, and the loss.

    Raises:
        ValueError: an order below 1, a grid that does not fall from 1 to 0, or the network or the view lets no
            gradients through.
    """
    if order is not None and order < 1:
        raise ValueError(f"order: must be at least 1, or None for all outputs, is {order}")
    found = {}
    for budget in budgets:
        descent = Descent(teacher, problem, budget, options, calibration)
        width = min(order or budget, budget)
        student = _fit(descent, grid(budget), order=width, rounds=rounds, rate=rate, alternate=alternate)
        found[budget] = student.sampler()
    return found


@dataclass(frozen=True, eq=False)
class Multistep:
    """What is learned of a multistep solver of S steps, and descends together or apart.

    Attributes:
        coefficients: b, the newest output first, shape (S, order), float64.
        log_gaps: of the noise levels, as `grid_parameters` has them, shape (S,).
        shifts: how far the net's times lie from the noise levels, as `nudged` has them, shape (S,).
    """

    coefficients: Tensor
    log_gaps: Tensor
    shifts: Tensor

    @classmethod
    def adams(cls, sigmas: FloatArray, order: int) -> Self:
        """Adams and Bashforth's solver of order 2, with room for `order` outputs a step.

        Order 3 is no better a start: at few steps it swings.
        """
        steps = len(sigmas) - 1
        weights = np.zeros((steps, order))
        for k in range(steps):
            known = min(order, k + 1, 2)
            weights[k, :known] = adams_weights(sigmas[: k + 2], known) / (sigmas[k + 1] - sigmas[k])
        return cls(torch.tensor(weights), log_gaps(sigmas), torch.zeros(steps, dtype=torch.float64))

    @property
    def times(self) -> list[Tensor]:
        """The noise levels and the net's times."""
        return [self.log_gaps, self.shifts]

    def student(self) -> Student:
        """The solver, as it is now."""
        sigmas = levels(self.log_gaps)
        return Student(sigmas, _rows(self.coefficients, sigmas), nudged(sigmas, self.shifts))


def _fit(descent: Descent, sigmas: FloatArray, *, order: int, rounds: int, rate: float, alternate: bool) -> Student:
    parameters = Multistep.adams(sigmas, order)
    if alternate:
        _alternate(descent, parameters, rounds, rate)
    else:
        _descend(descent, parameters, [parameters.coefficients], rounds, rate)
    return parameters.student()


def _alternate(descent: Descent, parameters: Multistep, rounds: int, rate: float) -> None:
    """A third of the rounds for the coefficients, a third for the times, a third for all together."""
    share, times = max(1, rounds // 3), parameters.times
    _descend(descent, parameters, [parameters.coefficients], share, rate)
    _descend(descent, parameters, times, share, rate / 2)
    _descend(descent, parameters, [parameters.coefficients, *times], max(1, rounds - 2 * share), rate / 2)


def _descend(descent: Descent, parameters: Multistep, moving: Sequence[Tensor], rounds: int, rate: float) -> None:
    descent.run(parameters.student, moving, torch.optim.Adam(moving, lr=rate), rounds)


def _rows(weights: Tensor, sigmas: Tensor) -> Tensor:
    """X of the multistep solver with these weights, shape (S + 1, 1 + S)."""
    steps, order = weights.shape
    ages = torch.arange(steps)[:, None] - torch.arange(steps)[None, :]  # of output j at step k
    used = (ages >= 0) & (ages < order)
    moves = torch.where(used, weights.gather(1, ages.clamp(0, order - 1)), 0.0) * sigmas.diff()[:, None]
    outputs = torch.cat([torch.zeros(1, steps, dtype=moves.dtype), moves.cumsum(0)])
    return torch.cat([torch.ones(steps + 1, 1, dtype=moves.dtype), outputs], dim=1)
