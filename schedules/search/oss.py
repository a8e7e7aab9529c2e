"""Optimal Stepsize Distillation (Pei et al., 2025) with the cost pooled over seeds before the choice.

A node of the grid carries the student's own states for all seeds at once, so that one path serves every seed. Round k
extends the carried states by one Euler step to every later node and keeps what lies nearest to the teacher; after it,
the last node holds the path of budget k. What differs from the released code:

    the cost is pooled over seeds before the argmin, instead of taking the median of per-seed paths;
    a state is kept with the very path that made it, so a path's error is the error of its own rollout;
    on x0, the best few candidates of a node are told apart by their clean-image predictions;
    a node is evaluated again only if its state came noticeably nearer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from schedules.search.evaluate import pool, pooled_error
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import Path
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

Cost = Literal["x0", "x"]


@dataclass(frozen=True, slots=True)
class OssOptions:
    """Switches of the search.

    Attributes:
        cost: rank a node's candidates by the error of x0 = x - sigma v, or by that of the state x.
        free_start: let the pure noise be declared to lie at any node, not at sigma 1 only.
        candidates: candidates of a node whose velocities are evaluated when the cost is on x0.
        log: pool by the geometric mean.
        tolerance: least relative gain for which a node's state is evaluated again.
    """

    cost: Cost = "x0"
    free_start: bool = False
    candidates: int = 2
    log: bool = False
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        if self.cost not in ("x0", "x"):
            raise ValueError(f"cost: must be x0 or x, is {self.cost!r}")
        if self.candidates < 1:
            raise ValueError(f"candidates: must be at least 1, is {self.candidates}")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance: must be in 0..1, is {self.tolerance}")


@dataclass(frozen=True, eq=False)
class OssPath:
    """The path of one budget.

    Attributes:
        nodes: the teacher's nodes that it visits, rising, budget + 1 of them.
        sigmas: their noise levels, shape (budget + 1,), float64.
        error: pooled final error of the path's own rollout against the teacher.
    """

    nodes: Path
    sigmas: FloatArray
    error: float


@dataclass(frozen=True, eq=False)
class _State:
    """What a node carries: the student's samples and velocities and how they were reached."""

    path: Path
    x: Tensor  # (M, *latent)
    v: Tensor  # (M, *latent)
    cost: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    cost: float  # pooled error of the state x


Report = Callable[[int, int], None]
"""Called with (rounds done, rounds in all)."""


def search_paths(
    problem: SearchProblem,
    teacher: Teacher,
    budget: int,
    options: OssOptions | None = None,
    report: Report | None = None,
) -> tuple[OssPath, ...]:
    """The paths of budgets 1..`budget` from one sweep over the teacher's nodes.

    Args:
        problem: the calibration seeds.
        teacher: their trajectories at the nodes of the grid.
        budget: most steps, in 1..N.
        options: the switches.
        report: is told of the progress.

    Raises:
        ValueError: an impossible budget.
    """
    if not 1 <= budget <= teacher.nodes_count:
        raise ValueError(f"budget: must be in 1..{teacher.nodes_count} (the grid's intervals), is {budget}")
    return _Sweep(problem, teacher, options or OssOptions()).run(budget, report)


def euler_rollout(problem: SearchProblem, sigmas: FloatArray) -> Tensor:
    """Euler's method along noise levels, the plain way, shape (M, *latent)."""
    x = problem.noise
    for start, end in pairwise(sigmas):
        x = x + float(end - start) * problem.velocity(x, float(start))
    return x


class _Sweep:
    def __init__(self, problem: SearchProblem, teacher: Teacher, options: OssOptions) -> None:
        self._problem, self._teacher, self._options = problem, teacher, options
        self._last = teacher.nodes_count
        self._carried: dict[int, _State] = self._starts()
        self._best = _Candidate((), float("inf"))

    def run(self, budget: int, report: Report | None) -> tuple[OssPath, ...]:
        found = []
        for round_number in range(1, budget + 1):
            self._extend(final_round=round_number == budget)
            found.append(self._exact(self._best.path, round_number))
            if report:
                report(round_number, budget)
        return tuple(found)

    def _starts(self) -> dict[int, _State]:
        nodes = range(self._last) if self._options.free_start else (0,)
        levels = [float(self._teacher.sigmas[node]) for node in nodes]
        noise = self._problem.noise
        velocities = self._problem.velocity(noise.expand(len(levels), *noise.shape), levels)
        costs = [float("inf") if node else 0.0 for node in nodes]
        return {node: _State((node,), noise, v, c) for node, v, c in zip(nodes, velocities, costs, strict=True)}

    def _extend(self, *, final_round: bool) -> None:
        """One round: a step from every carried state to every later node."""
        reached = {node: self._candidates(node) for node in range(1, self._last + 1)}
        final = reached.pop(self._last)
        if final and final[0].cost < self._best.cost:
            self._best = final[0]
        if not final_round:
            self._evaluate({node: worth for node, found in reached.items() if (worth := self._worth(node, found))})

    def _candidates(self, node: int) -> list[_Candidate]:
        """The best steps into a node, by the pooled error of the state."""
        sources = [state for source, state in self._carried.items() if source < node]
        if not sources:
            return []
        errors = torch.stack([self._state_errors(self._step(state, node), node) for state in sources])
        costs = pool(errors, log=self._options.log)
        wanted = self._options.candidates if self._options.cost == "x0" and node < self._last else 1
        order = costs.argsort()[:wanted].tolist()
        return [_Candidate((*sources[i].path, node), float(costs[i])) for i in order]

    def _worth(self, node: int, found: list[_Candidate]) -> list[_Candidate]:
        """The candidates that are noticeably nearer than what the node carries and may still beat the best path.

        An error rarely shrinks on the way down, so a state that is already worse than the best finished path is left.
        """
        carried = self._carried[node].cost if node in self._carried else float("inf")
        limit = min(carried * (1 - self._options.tolerance), self._best.cost)
        return [candidate for candidate in found if candidate.cost < limit]

    def _evaluate(self, worth: dict[int, list[_Candidate]]) -> None:
        """Call the network on the new states and let each node carry its best."""
        flat = [(node, candidate) for node, candidates in worth.items() for candidate in candidates]
        if not flat:
            return
        samples = torch.stack([self._step(self._carried[c.path[-2]], node) for node, c in flat])
        velocities = self._problem.velocity(samples, [float(self._teacher.sigmas[node]) for node, _ in flat])
        fresh: dict[int, tuple[float, _State]] = {}
        for (node, candidate), x, v in zip(flat, samples, velocities, strict=True):
            rank = self._x0_cost(node, x, v) if self._options.cost == "x0" else candidate.cost
            if node not in fresh or rank < fresh[node][0]:
                fresh[node] = (rank, _State(candidate.path, x, v, candidate.cost))
        self._carried.update({node: state for node, (_, state) in fresh.items()})

    def _step(self, state: _State, node: int) -> Tensor:
        gap = float(self._teacher.sigmas[node] - self._teacher.sigmas[state.path[-1]])
        return state.x + gap * state.v

    def _state_errors(self, x: Tensor, node: int) -> Tensor:
        return (x - self._teacher.states[node]).square().flatten(1).mean(1).cpu()

    def _x0_cost(self, node: int, x: Tensor, v: Tensor) -> float:
        predicted = x - float(self._teacher.sigmas[node]) * v
        errors = (predicted - self._teacher.x0(node)).square().flatten(1).mean(1).cpu()
        return float(pool(errors, log=self._options.log))

    def _exact(self, path: Path, edges: int) -> OssPath:
        """The path brought to its number of edges, and the error of its own rollout."""
        nodes = fill(path, edges)
        sigmas = self._teacher.sigmas[list(nodes)]
        error = self._best.cost
        if nodes != self._best.path:
            error = pooled_error(euler_rollout(self._problem, sigmas), self._teacher.final, log=self._options.log)
        return OssPath(nodes, sigmas, error)


def fill(path: Path, edges: int) -> Path:
    """Split a path's widest edges at their middle until it has exactly `edges` of them.

    Raises:
        ValueError: the path has more edges than that, or the grid is too coarse.
    """
    nodes = list(path)
    if len(nodes) - 1 > edges or path[-1] - path[0] < edges:
        raise ValueError(f"edges: {edges} do not fit a path of {len(path) - 1} over nodes {path[0]}..{path[-1]}")
    while len(nodes) - 1 < edges:
        widest = max(range(len(nodes) - 1), key=lambda i: nodes[i + 1] - nodes[i])
        nodes.insert(widest + 1, (nodes[widest] + nodes[widest + 1]) // 2)
    return tuple(nodes)
