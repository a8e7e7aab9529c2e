"""OLSS: each state the least-squares mix of the noise and all outputs so far (Duan et al. 2023, equations 9 to 13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from schedules.compile.adams import adams_weights
from schedules.search.method import Sampler, Samplers
from schedules.search.oss import fill
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import Path
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

_CHUNK = 16
_RIDGE = 1e-6


def olss_teacher(
    teacher: Teacher, problem: SearchProblem, budgets: Sequence[int], *, bisections: int = 30, ridge: float = 0.0
) -> Samplers:
    """OLSS as published (Duan et al. 2023): least squares on the teacher's states and outputs.

    No evaluations beside the teacher's. Memory: the triangular factor of the trajectories, (2 N + 1)^2 float64, and 16
    seeds of them in float64 at a time.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds; is not called.
        budgets: numbers of steps, in 1..N.
        bisections: halvings of the bound on the largest regression error, which chooses the nodes.
        ridge: shrinks each row towards Adams and Bashforth's, relative to the outputs' variance; 0 as published.

    Raises:
        ValueError: a budget beyond the teacher's grid.
    """
    factor = _Factor(teacher, problem.noise)
    return {budget: factor.sampler(factor.path(budget, bisections), ridge) for budget in budgets}


def olss_student(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    bisections: int = 30,
    ridge: float = _RIDGE,
    paths: Mapping[int, Path] | None = None,
) -> Samplers:
    """OLSS with the regressions (Duan et al. 2023, equation 13) on the student's own outputs, one step after another.

    Takes M x budget evaluations for each budget. Memory: budget + 2 times M latents in float64.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds.
        budgets: numbers of steps, in 1..N.
        bisections: as in `olss_teacher`, whose nodes are taken.
        ridge: shrinks each row towards Adams and Bashforth's, relative to the outputs' variance.
        paths: other nodes of the teacher's grid for each budget, rising from 0 to N.

    Raises:
        ValueError: a budget beyond the teacher's grid.
    """
    if paths is None:
        factor = _Factor(teacher, problem.noise)
        paths = {budget: factor.path(budget, bisections) for budget in budgets}
    return {budget: _on_own_outputs(teacher, problem, paths[budget], ridge) for budget in budgets}


def regress(outputs: FloatArray, target: FloatArray, prior: FloatArray, ridge: float) -> FloatArray:
    """The weights w that make outputs @ w nearest to the target, shrunk towards a prior.

    Minimises |outputs w - target|^2 + ridge v |w - prior|^2 with v the mean square norm of an output.

    Args:
        outputs: what is mixed, one column each, shape (n, p), float64.
        target: what the mix should be, shape (n,), float64.
        prior: the weights shrunk towards, shape (p,).
        ridge: how strongly, >= 0.
    """
    size = outputs.shape[1]
    strength = np.sqrt(ridge * np.square(outputs).sum() / size)
    stacked = np.vstack([outputs, strength * np.eye(size)])
    rest = np.append(target - outputs @ prior, np.zeros(size))
    return np.asarray(prior + np.linalg.lstsq(stacked, rest, rcond=None)[0])


class _Factor:
    """The triangular factor of [noise, outputs, states]: every regression on it is one on the trajectories."""

    def __init__(self, teacher: Teacher, noise: Tensor) -> None:
        self._last = teacher.nodes_count
        self._sigmas = teacher.sigmas
        factor: FloatArray = np.zeros((0, 2 * self._last + 1))
        for start in range(0, len(noise), _CHUNK):
            part = slice(start, start + _CHUNK)
            columns = torch.cat([noise[None, part], teacher.velocities[:, part], teacher.states[1:, part]])
            factor = np.linalg.qr(np.vstack([factor, _columns(columns)])).R
        self._noise_and_outputs, self._states = factor[:, : self._last + 1], factor[:, self._last :]

    def path(self, budget: int, bisections: int) -> Path:
        """The nodes whose largest regression error is least, by bisection on the bound."""
        if not 1 <= budget <= self._last:
            raise ValueError(f"budget: must be in 1..{self._last} (the grid's intervals), is {budget}")
        low, high = 0.0, float(self._errors((0,)).max())
        best: Path = (0, self._last)
        for _ in range(bisections):
            bound = (low + high) / 2
            path = self._farthest(bound)
            if len(path) - 1 <= budget:
                high, best = bound, path
            else:
                low = bound
        return fill(best, budget)

    def sampler(self, path: Path, ridge: float) -> Sampler:
        """The regressions along a path, all on the teacher's outputs."""
        sigmas = self._sigmas[list(path)]
        rows = _first_row(len(path) - 1)
        for k, node in enumerate(path[1:]):
            outputs = self._noise_and_outputs[:, self._history(path[: k + 1])]
            prior = _adams_row(rows[k], sigmas[: k + 2])
            rows[k + 1, : k + 2] = regress(outputs, self._states[:, node], prior, ridge)
        return Sampler.learned(sigmas, rows)

    def _farthest(self, bound: float) -> Path:
        """From each node to the farthest one whose state the history explains; to the next where it explains none."""
        nodes = [0]
        while nodes[-1] < self._last:
            within = np.flatnonzero(self._errors(tuple(nodes)) <= bound)
            nodes.append(nodes[-1] + 1 + (int(within[-1]) if len(within) else 0))
        return tuple(nodes)

    def _errors(self, path: Path) -> FloatArray:
        """The norm of what the history along a path leaves unexplained of each later state."""
        outputs = self._noise_and_outputs[:, self._history(path)]
        basis = np.linalg.qr(outputs)[0]
        states = self._states[:, path[-1] + 1 :]
        return np.asarray(np.linalg.norm(states - basis @ (basis.T @ states), axis=0))

    def _history(self, path: Path) -> list[int]:
        return [0, *(1 + node for node in path)]


def _on_own_outputs(teacher: Teacher, problem: SearchProblem, path: Path, ridge: float) -> Sampler:
    sigmas = teacher.sigmas[list(path)]
    rows = _first_row(len(path) - 1)
    history = [problem.noise]
    for k, node in enumerate(path[1:]):
        weights = torch.tensor(rows[k, : k + 1], dtype=torch.float32, device=problem.noise.device)
        x = torch.einsum("h,h...->...", weights, torch.stack(history))
        history.append(problem.velocity(x, float(sigmas[k])))
        outputs, target = _columns(torch.stack(history)), _columns(teacher.states[node][None])[:, 0]
        rows[k + 1, : k + 2] = regress(outputs, target, _adams_row(rows[k], sigmas[: k + 2]), ridge)
    return Sampler.learned(sigmas, rows)


def _columns(latents: Tensor) -> FloatArray:
    """(p, M, *latent) as p columns, shape (M x elements, p), float64."""
    return np.asarray(latents.flatten(1).T.double().cpu().numpy())


def _first_row(steps: int) -> FloatArray:
    rows = np.zeros((steps + 1, steps + 1))
    rows[0, 0] = 1.0
    return rows


def _adams_row(row: FloatArray, sigmas: FloatArray) -> FloatArray:
    """One Adams-Bashforth step of order 2 from a row, shape (k + 2,) for the step to the k + 2nd noise level."""
    steps = len(sigmas) - 1
    order = min(steps, 2)
    after = row[: steps + 1].copy()
    after[steps : steps - order : -1] += adams_weights(sigmas, order)
    return after
