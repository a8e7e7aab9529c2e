"""K-best: a beam of states at each node, for solvers with a past too (Lowerre 1976's beam on Pei et al. 2025's graph).

A node of the teacher's grid carries up to K of the student's states with different parents, each for all seeds at once
and with what the solver remembers of the step before. Round k extends all of them by one step to every later node, so
that the last node sees the true error of true paths with exactly k steps. One state for each node, as in OSS, throws a
path away as soon as another comes a little nearer to the teacher, though it may go on worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schedules.search.evaluate import pool
from schedules.search.method import Sampler, Samplers
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import Path
from schedules.search.teacher import Teacher
from schedules.search.two_step import coefficients, quantity


def kbest(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    width: int = 3,
    solver: str = "euler",
    seeds: int = 32,
    log: bool = False,
) -> Samplers:
    """A beam of `width` states with different parents at each node, ranked by the pooled error (Lowerre 1976).

    Takes at most seeds x N x width x the largest budget guided steps for all budgets together, in practice about two
    thirds, since states already worse than a finished path are left: 32 seeds, 50 nodes, 12 steps and width 3 are some
    38,000. Memory: 6 N x width latents for each seed.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds.
        budgets: numbers of steps, in 1..N.
        width: K, the states that a node carries.
        solver: one of `two_step.SOLVERS`.
        seeds: how many of the calibration seeds are used, all if there are fewer.
        log: pool by the geometric mean.

    Raises:
        ValueError: an unknown solver, an empty beam, or a budget beyond the teacher's grid.
    """
    if width < 1:
        raise ValueError(f"width: must be at least 1, is {width}")
    for budget in budgets:
        if not 1 <= budget <= teacher.nodes_count:
            raise ValueError(f"budget: must be in 1..{teacher.nodes_count} (the grid's intervals), is {budget}")
    count = min(seeds, problem.seeds_count)
    beam = _Beam(problem.take(count), teacher.take(count), solver, width, log=log)
    paths = beam.run(max(budgets))
    return {budget: Sampler.compiled(solver, teacher.sigmas[list(paths[budget - 1])]) for budget in budgets}


@dataclass(frozen=True, eq=False)
class _State:
    """One of a node's states for all seeds, with what the solver extrapolates there and at the step before."""

    path: Path
    x: Tensor  # (M, *latent)
    present: Tensor  # (M, *latent)
    past: Tensor  # (M, *latent)


@dataclass(frozen=True, eq=False)
class _Candidate:
    cost: float
    source: _State
    node: int


class _Beam:
    def __init__(self, problem: SearchProblem, teacher: Teacher, solver: str, width: int, *, log: bool) -> None:
        self._problem, self._teacher = problem, teacher
        self._solver, self._width, self._log = solver, width, log
        self._levels = torch.tensor(teacher.sigmas)
        self._last = teacher.nodes_count
        self._best = float("inf")

    def run(self, rounds: int) -> tuple[Path, ...]:
        """The best paths with exactly 1, 2, ..., `rounds` steps."""
        start = self._problem.noise
        present = quantity(self._solver, start, self._problem.velocity(start, 1.0), self._levels[0])
        states, found = [_State((0,), start, present, start)], []
        for number in range(1, rounds + 1):
            finished = self._ranked(states, self._last)[0]
            self._best = min(self._best, finished.cost)
            found.append((*finished.source.path, self._last))
            if number < rounds:
                states = self._evaluated(self._extended(states, left=rounds - number)) or states
        return tuple(found)

    def _extended(self, states: Sequence[_State], left: int) -> list[_Candidate]:
        """Each node's best candidates, one for each parent; those worse than a finished path are left if others go on.

        An error rarely shrinks on the way down.
        """
        nodes = range(1, self._last - left + 1)
        found = [c for node in nodes for c in self._distinct(self._ranked(states, node))]
        return [c for c in found if c.cost < self._best] or found

    def _distinct(self, ranked: Sequence[_Candidate]) -> list[_Candidate]:
        best: dict[int, _Candidate] = {}
        for candidate in ranked:
            best.setdefault(candidate.source.path[-1], candidate)
        return list(best.values())[: self._width]

    def _ranked(self, states: Sequence[_State], node: int) -> list[_Candidate]:
        """The steps of all earlier states into a node, by the pooled error of what they reach."""
        sources = [state for state in states if state.path[-1] < node]
        if not sources:
            return []
        errors = torch.stack([self._errors(self._step(state, node), node) for state in sources])
        costs = pool(errors, log=self._log)
        return [_Candidate(float(costs[i]), sources[i], node) for i in costs.argsort().tolist()]

    def _step(self, state: _State, node: int) -> Tensor:
        before = self._levels[state.path[-2]] if len(state.path) > 1 else None
        a, b, c = coefficients(self._solver, before, self._levels[state.path[-1]], self._levels[node])
        return float(a) * state.x + float(b) * state.present + float(c) * state.past

    def _errors(self, x: Tensor, node: int) -> Tensor:
        return (x - self._teacher.states[node]).square().flatten(1).mean(1).cpu()

    def _evaluated(self, candidates: Sequence[_Candidate]) -> list[_State]:
        """The candidates' states with the network's word on them."""
        if not candidates:
            return []
        samples = torch.stack([self._step(c.source, c.node) for c in candidates])
        velocities = self._problem.velocity(samples, [float(self._levels[c.node]) for c in candidates])
        return [
            _State((*c.source.path, c.node), x, quantity(self._solver, x, v, self._levels[c.node]), c.source.present)
            for c, x, v in zip(candidates, samples, velocities, strict=True)
        ]
