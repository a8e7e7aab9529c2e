"""Optimal Stepsize Distillation as its released code works (Pei et al. 2025, algorithm 1); `oss` is the better one.

The dynamic programme runs for each seed by itself. A node carries the student's state that lies nearest to the
teacher's; a round extends all of them by one Euler step, and a node that no step improves keeps state and parent, so
that round k stands for at most k steps. The trace back goes through the newest parents, also where a state descends
from an older one. One schedule for all seeds is the median node at each position of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from statistics import median

import torch
from torch import Tensor

from schedules.search.method import Sampler, Samplers
from schedules.search.oss import fill
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import Path
from schedules.search.teacher import Teacher
from schedules.table import FloatArray


def oss_released(
    teacher: Teacher, problem: SearchProblem, budgets: Sequence[int], *, seeds: int = 32, free_start: bool = True
) -> Samplers:
    """OSS as released (Pei et al. 2025, algorithm 1): the median of single seeds' paths, for Euler's method.

    Takes seeds x N x the largest budget evaluations for all budgets together, beside the teacher's: 32 seeds, 50 nodes
    and 12 steps are 19,200. Memory: 4 N latents for each seed.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds.
        budgets: numbers of steps, in 1..N.
        seeds: how many of them are used, all if there are fewer; the paper's own tables are medians of 8 to 512.
        free_start: let the pure noise be declared to lie at any node, as the released code does.

    Raises:
        ValueError: a budget beyond the teacher's grid.
    """
    count = min(seeds, problem.seeds_count)
    found = oss_per_seed(teacher.take(count), problem.take(count), budgets, free_start=free_start)
    medians = {budget: _median(paths) for budget, paths in found.items()}
    return {budget: Sampler.compiled("euler", teacher.sigmas[list(path)]) for budget, path in medians.items()}


def oss_per_seed(
    teacher: Teacher, problem: SearchProblem, budgets: Sequence[int], *, free_start: bool = True
) -> Mapping[int, tuple[Path, ...]]:
    """OSS with a path for each seed (Pei et al. 2025, algorithm 1); needs each seed's teacher, so it cannot be served.

    Takes M x N x the largest budget evaluations. Memory: 4 N M latents.

    Args:
        teacher: trajectories of the seeds that are to be drawn.
        problem: the same seeds.
        budgets: numbers of steps, in 1..N.
        free_start: let the pure noise be declared to lie at any node.

    Returns:
        For each budget the nodes that each seed visits, budget + 1 of them, rising. A path that came out with fewer
        has its widest steps split, where the released code evaluates the first node again and again.

    Raises:
        ValueError: a budget beyond the teacher's grid.
    """
    for budget in budgets:
        if not 1 <= budget <= teacher.nodes_count:
            raise ValueError(f"budget: must be in 1..{teacher.nodes_count} (the grid's intervals), is {budget}")
    parents = _Rounds(teacher, problem, free_start=free_start).run(max(budgets))
    return {budget: _trace(parents[:budget], problem.seeds_count, teacher.nodes_count) for budget in budgets}


def roll_out_per_seed(problem: SearchProblem, sigmas: FloatArray) -> Tensor:
    """Euler's method along each seed's own noise levels.

    Args:
        problem: the seeds.
        sigmas: their falling noise levels, shape (M, steps + 1), float64.

    Returns:
        The final samples, shape (M, *latent).
    """
    levels = torch.tensor(sigmas, dtype=problem.noise.dtype, device=problem.noise.device)
    rows = torch.arange(problem.seeds_count)
    x = problem.noise
    for start, end in pairwise(levels.T):
        v = problem.output(x, problem.time_scale * start, rows, problem.guidance_scale)
        x = x + (end - start).reshape(-1, *(1,) * (x.ndim - 1)) * v
    return x


class _Rounds:
    """What every node carries for every seed."""

    def __init__(self, teacher: Teacher, problem: SearchProblem, *, free_start: bool) -> None:
        self._teacher, self._problem = teacher, problem
        self._last = teacher.nodes_count
        shape = (self._last + 1, problem.seeds_count)
        self._states = problem.noise.expand(self._last + 1, *problem.noise.shape).clone()
        self._costs = torch.full(shape, torch.inf)
        self._parents = torch.zeros(shape, dtype=torch.int64)
        self._first_sources = self._last if free_start else 1

    def run(self, rounds: int) -> list[Tensor]:
        """The parent of each node and seed after each round, every one of shape (N + 1, M)."""
        found = []
        for number in range(rounds):
            self._extend(self._last if number else self._first_sources)
            found.append(self._parents.clone())
        return found

    def _extend(self, sources: int) -> None:
        sigmas = self._teacher.sigmas
        velocities = self._problem.velocity(self._states[:sources], sigmas[:sources].tolist())
        before = self._states.clone()
        for i in range(sources):
            gaps = torch.tensor(sigmas[i + 1 :] - sigmas[i], dtype=before.dtype, device=before.device)
            self._offer(i, before[i] + gaps.reshape(-1, *(1,) * (before.ndim - 1)) * velocities[i])

    def _offer(self, source: int, states: Tensor) -> None:
        """Let the seeds that come nearer to the teacher at a node take the step that leads there from a source."""
        later = slice(source + 1, None)
        errors = (states - self._teacher.states[later]).square().flatten(2).mean(2).cpu()
        nearer = errors < self._costs[later]
        self._costs[later][nearer] = errors[nearer]
        self._parents[later][nearer] = source
        self._states[later][nearer] = states[nearer]


def _trace(parents: Sequence[Tensor], seeds: int, last: int) -> tuple[Path, ...]:
    """Back from the last node through the newest parents of each round; the first node is its own parent."""
    return tuple(fill(_path([p[:, seed].tolist() for p in parents], last), len(parents)) for seed in range(seeds))


def _path(parents: Sequence[Sequence[int]], last: int) -> Path:
    nodes = [last]
    for found in reversed(parents):
        nodes.append(found[nodes[-1]])
    return tuple(sorted(set(nodes)))


def _median(paths: Sequence[Path]) -> Path:
    """The median node at each position; the mean of the middle two is rounded to the later node, as released."""
    return tuple(ceil(median(place)) for place in zip(*paths, strict=True))
