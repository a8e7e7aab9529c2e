"""Coefficients in closed form: each row of the table by ridge regression on the student's own rollout.

Row k + 1 is x_k, scaled, plus the latest outputs, weighted. The weights are those that bring the calibration seeds
nearest to the teacher's states at the next noise level, shrunk to the Adams-Bashforth formula. Since the student's own
samples and outputs are the regressors, each row also mends what the rows before it did wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from schedules.compile.adams import adams_weights
from schedules.search.problem import SearchProblem
from schedules.search.rollout import Rollout, roll_out
from schedules.search.teacher import Teacher
from schedules.table import FloatArray, Table, all_fresh


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Switches of the regression.

    Attributes:
        order: most outputs in a row, >= 1.
        ridge: pull towards the formula, relative to the regressors' mean square, >= 0.
        scales_state: let a row scale the sample too, not only add to it.
    """

    order: int = 3
    ridge: float = 1e-3
    scales_state: bool = True

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ValueError(f"order: must be at least 1, is {self.order}")
        if self.ridge < 0:
            raise ValueError(f"ridge: must be >= 0, is {self.ridge}")


def fit_rows(
    problem: SearchProblem,
    teacher: Teacher,
    sigmas: FloatArray,
    options: FitOptions | None = None,
    weights: FloatArray | None = None,
) -> Rollout:
    """Fit a table to a grid, one rollout for all of its rows (least squares as in OLSS, on the student's history).

    Args:
        problem: the calibration seeds.
        teacher: their trajectories.
        sigmas: noise levels falling from at most 1 to 0, shape (steps + 1,), float64.
        options: the switches.
        weights: what each seed counts, shape (M,), > 0; equal by default.

    Returns:
        The fitted table with what it drew; `steps` guided evaluations for each seed.
    """
    return _Fit(problem, teacher, sigmas, options or FitOptions(), weights).run()


def robust_weights(errors: FloatArray, floor: float) -> FloatArray:
    """What seeds count so that weighted least squares goes down the geometric mean of their errors, mean 1.

    Iteratively reweighted least squares for sum log(error + floor): the weight is its derivative, shape (M,).
    """
    weights = 1.0 / (errors + floor)
    return np.asarray(weights / weights.mean())


class _Fit:
    def __init__(
        self,
        problem: SearchProblem,
        teacher: Teacher,
        sigmas: FloatArray,
        options: FitOptions,
        weights: FloatArray | None,
    ) -> None:
        self._problem, self._teacher, self._sigmas, self._options = problem, teacher, sigmas, options
        counts = np.ones(problem.seeds_count) if weights is None else weights
        self._root = torch.tensor(np.sqrt(counts), dtype=torch.float32, device=problem.noise.device)
        self._steps = len(sigmas) - 1

    def run(self) -> Rollout:
        rows = np.zeros((self._steps + 1, self._steps + 1))
        rows[0, 0] = 1.0
        drawn = self._roll_out(rows, 1, None)
        for k in range(self._steps):
            x = self._sample(rows[k], drawn.history)
            scale, gains = self._row(k, x, drawn.history[1 : k + 2])
            rows[k + 1] = scale * rows[k]
            rows[k + 1, k + 2 - len(gains) : k + 2] += gains[::-1]
            drawn = self._roll_out(rows, min(k + 2, self._steps), drawn)
        return replace(drawn, evaluated=self._steps)

    def _roll_out(self, rows: FloatArray, count: int, before: Rollout | None) -> Rollout:
        """What the first `count` evaluations draw; outputs that `before` has are not computed again."""
        return roll_out(self._problem, self._table(rows, count), after=before)

    def _table(self, rows: FloatArray, count: int) -> Table:
        """The table's first `count` evaluations."""
        return Table(
            t=self._problem.time_scale * self._sigmas[:count],
            c=np.ones(count),
            w=np.ones(count),
            uncond=all_fresh(count),
            X=rows[: count + 1, : count + 1],
        )

    def _row(self, k: int, x: Tensor, outputs: Tensor) -> tuple[float, FloatArray]:
        """The scale of x_k and the weights of the latest outputs, newest first."""
        past = min(self._options.order, k + 1)
        columns = [outputs[k - j] for j in range(past)]
        formula = adams_weights(self._sigmas[: k + 2], past)
        if self._options.scales_state:
            columns, formula = [*columns, x], np.append(formula, 0.0)
        target = self._teacher.state_at(float(self._sigmas[k + 1])) - x
        found = self._regress(torch.stack(columns), target, formula)
        if not self._options.scales_state:
            return 1.0, found
        return 1.0 + float(found[-1]), found[:-1]

    def _regress(self, columns: Tensor, target: Tensor, formula: FloatArray) -> FloatArray:
        """Ridge regression of the target on the columns (n, M, *latent), shrunk to the formula, shape (n,)."""
        weighted = (columns.flatten(2) * self._root[None, :, None]).flatten(1).double()
        wanted = (target.flatten(1) * self._root[:, None]).flatten().double()
        gram = (weighted @ weighted.T).cpu().numpy() / wanted.numel()
        right = (weighted @ wanted).cpu().numpy() / wanted.numel()
        pull = self._options.ridge * float(np.trace(gram)) / len(gram)
        return np.asarray(np.linalg.solve(gram + pull * np.eye(len(gram)), right + pull * formula))

    def _sample(self, row: FloatArray, history: Tensor) -> Tensor:
        weights = torch.tensor(row[: len(history)], dtype=history.dtype, device=history.device)
        return torch.einsum("h,h...->...", weights, history)
