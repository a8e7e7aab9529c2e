"""LD3: noise levels learned by gradient through a formula solver (Tong et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from schedules.search.descent import Descent, DescentOptions, Student
from schedules.search.grid_parameters import levels, log_gaps, nudged
from schedules.search.method import Samplers
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.s4s import SHIFT_3, Grid
from schedules.search.teacher import Teacher
from schedules.search.two_step import solver_rows


def ld3(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    calibration: Split | None = None,
    solver: str = "dpmpp-2m",
    decoupled: bool = True,
    grid: Grid = SHIFT_3,
    rounds: tuple[int, int] = (4, 8),
    rate: float = 0.03,
    options: DescentOptions | None = None,
) -> Samplers:
    """LD3 (Tong et al. 2024, algorithm 1 and equation 10): gradient descent on the noise levels and the net's times.

    First the noise levels move alone, then with the times that the network is told, each within half the least gap. The
    gaps are softmaxed in sigma here, since the published log signal-to-noise has no ends on a flow; RMSprop serves both
    phases. The loss is that of `s4s`, of pictures the PSNR, instead of a perceptual network's distance.

    Each budget of S steps takes 1.75 x rounds x seeds x S guided steps, since each is made again on the way back, which
    costs as much once more: 64 seeds, 12 rounds and 8 steps are 10,800, and the time of 15,400. Memory: 2 S + 1
    latents for each seed of a batch, and the activations of the network's call, or of the view's.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds; gradients must pass through its network.
        budgets: numbers of steps.
        calibration: where the final errors of `problem` are compared, by a view that gradients pass through; pictures
            before rounding for instance, latents by default. It also says when to stop.
        solver: one of `two_step.SOLVERS`.
        decoupled: whether the network's own times move too.
        grid: where the noise levels begin.
        rounds: passes over the training seeds in the two phases.
        rate: RMSprop's step on the log-gaps.
        options: the seeds, the ball of soft teacher forcing, and the loss.

    Raises:
        ValueError: an unknown solver, or the network or the view lets no gradients through.
    """
    found = {}
    for budget in budgets:
        descent = Descent(teacher, problem, budget, options, calibration)
        gaps, shifts = log_gaps(grid(budget)), torch.zeros(budget, dtype=torch.float64)
        build = partial(_student, solver, gaps, shifts)
        descent.run(build, [gaps], torch.optim.RMSprop([gaps], lr=rate), rounds[0])
        moving = [gaps, shifts] if decoupled else [gaps]
        descent.run(build, moving, torch.optim.RMSprop(moving, lr=rate / 2), rounds[1])
        found[budget] = build().sampler()
    return found


def _student(solver: str, gaps: Tensor, shifts: Tensor) -> Student:
    sigmas = levels(gaps)
    return Student(sigmas, solver_rows(solver, sigmas), nudged(sigmas, shifts))
