"""Bespoke optimal steps by additive local errors (BOSS: Nguyen et al., ICLR 2024); needs the teacher's pass only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schedules.search.method import Sampler, Samplers
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import ShortestPath, shortest_grids, shortest_paths
from schedules.search.teacher import Teacher
from schedules.table import FloatArray


def boss(teacher: Teacher, problem: SearchProblem, budgets: Sequence[int], *, solver: str = "euler") -> Samplers:
    """BOSS (Nguyen et al. 2024, the dynamic programme over additive one-step errors).

    No evaluation beside the teacher's. Memory: a few latents for each seed beside the teacher.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds; not evaluated.
        budgets: numbers of steps, in 1..N.
        solver: what samples on the grids; the costs are those of Euler's method, as in the paper.

    Raises:
        ValueError: a budget beyond the teacher's grid.
    """
    del problem
    grids = shortest_grids(edge_costs(teacher), teacher.sigmas, budgets)
    return {steps: Sampler.compiled(solver, sigmas) for steps, sigmas in grids.items()}


def edge_costs(teacher: Teacher) -> FloatArray:
    """Mean squared error of one Euler step from the teacher's state at i to node j, pooled over the seeds.

    Returns:
        Costs at [i, j] for i < j, infinite elsewhere, shape (N + 1, N + 1), float64.
    """
    count = teacher.nodes_count
    costs = np.full((count + 1, count + 1), np.inf)
    for i in range(count):
        for j in range(i + 1, count + 1):
            gap = float(teacher.sigmas[j] - teacher.sigmas[i])
            landed = teacher.states[i] + gap * teacher.velocities[i]
            costs[i, j] = float((landed - teacher.states[j]).square().mean())
    return costs


def boss_paths(teacher: Teacher, budget: int) -> tuple[ShortestPath, ...]:
    """The paths of budgets 1..`budget` over the teacher's nodes with the least sum of edge costs."""
    return shortest_paths(edge_costs(teacher), budget)
