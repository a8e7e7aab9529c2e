"""Grids from the teacher alone: everything that a multistep student does near the teacher's path, in one Gram matrix.

As long as a student stays near the path, its regressors and targets are weighted sums of the teacher's starting noise,
of its moves from node to node and of its velocities. The squared error of every fitted step, on any grid and for all
seeds together, is then a quadratic form of their Gram matrix, and trying a grid costs a millisecond and no evaluation.
What a step's error grows to on the way to the end is measured once (`sensitivity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from schedules.compile.adams import adams_weights
from schedules.interpolate import grid_of
from schedules.search.fit import FitOptions
from schedules.search.refine import LEAST_GAP
from schedules.search.sensitivity import Sensitivity
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class TeacherSpan:
    """How the starting noise, the teacher's N moves and its N velocities relate.

    Attributes:
        sigmas: the teacher's nodes, falling from 1 to 0, shape (N + 1,), float64.
        gram: their inner products in this order, averaged over seeds and elements, shape (1 + 2N, 1 + 2N), float64.
    """

    sigmas: FloatArray
    gram: FloatArray

    @classmethod
    def of(cls, teacher: Teacher) -> TeacherSpan:
        """One pass over the kept trajectories."""
        basis = torch.cat([teacher.states[:1], teacher.states.diff(dim=0), teacher.velocities]).flatten(1).double()
        gram = (basis @ basis.T / basis.shape[1]).cpu().numpy()
        return cls(teacher.sigmas, np.asarray(gram))

    def velocities(self, sigmas: FloatArray) -> FloatArray:
        """The teacher's velocities at noise levels, linear between nodes, as rows over the basis, shape (n, 1 + 2N)."""
        nodes = self.sigmas[:-1]
        columns = [np.interp(-sigmas, -nodes, unit) for unit in np.eye(len(nodes))]
        return np.concatenate([np.zeros((len(sigmas), 1 + len(nodes))), np.stack(columns, axis=1)], axis=1)

    def states(self, sigmas: FloatArray) -> FloatArray:
        """The teacher's samples at noise levels, as rows over the basis, shape (n, 1 + 2N)."""
        gaps = -np.diff(self.sigmas)
        done = np.clip(self.sigmas[None, :-1] - sigmas[:, None], 0.0, gaps) / gaps
        return np.concatenate([np.ones((len(sigmas), 1)), done, np.zeros_like(done)], axis=1)

    def step_errors(self, sigmas: FloatArray, options: FitOptions) -> FloatArray:
        """Mean squared error that each fitted step adds, shape (steps,).

        Args:
            sigmas: a grid from 1 to 0, shape (steps + 1,).
            options: of the fit.
        """
        steps = len(sigmas) - 1
        states = self.states(sigmas)
        regressors = np.concatenate([self.velocities(sigmas[:-1]), states[:-1]])
        moves = np.diff(states, axis=0)
        inner = regressors @ self.gram @ regressors.T
        right = moves @ self.gram @ regressors.T
        whole = np.einsum("ki,ij,kj->k", moves, self.gram, moves)
        errors = np.empty(steps)
        for k in range(steps):
            past = np.arange(k, max(k - options.order, -1), -1)
            formula = adams_weights(sigmas[: k + 2], len(past))
            chosen = np.append(past, steps + k) if options.scales_state else past
            prior = np.append(formula, 0.0) if options.scales_state else formula
            block, wanted = inner[np.ix_(chosen, chosen)], right[k, chosen]
            pull = options.ridge * np.trace(block) / len(chosen)
            found = np.linalg.solve(block + pull * np.eye(len(chosen)), wanted + pull * prior)
            errors[k] = whole[k] - 2 * found @ wanted + found @ block @ found
        return np.maximum(errors, 0.0)

    def best_grid(self, start: FloatArray, sensitivity: Sensitivity, options: FitOptions) -> FloatArray:
        """The grid with the least sum of step errors, each grown to the end, near a start (quasi-Newton on log-gaps).

        Args:
            start: noise levels from 1 to 0, shape (steps + 1,).
            sensitivity: what an error grows by.
            options: of the fit.

        Returns:
            Noise levels from 1 to 0, shape (steps + 1,), float64.
        """

        def cost(logs: FloatArray) -> float:
            sigmas = _grid(logs)
            grown = self.step_errors(sigmas, options) * sensitivity.at(sigmas[1:]) ** 2
            return float(np.log(grown.sum() + _TINY))

        return _grid(np.asarray(minimize(cost, np.log(-np.diff(start)), method="L-BFGS-B").x))


def _grid(logs: FloatArray) -> FloatArray:
    return grid_of(np.maximum(np.exp(logs - logs.max()), LEAST_GAP), 1.0)


def best_grids(
    span: TeacherSpan, starts: Sequence[FloatArray], sensitivity: Sensitivity, options: FitOptions
) -> FloatArray:
    """The best grid over several starts of one budget."""
    grids = [span.best_grid(start, sensitivity, options) for start in starts]
    costs = [(span.step_errors(grid, options) * sensitivity.at(grid[1:]) ** 2).sum() for grid in grids]
    return grids[int(np.argmin(costs))]
