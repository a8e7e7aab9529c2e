"""Geometry-inspired time schedules (GITS: Chen et al., ICML 2024): steps where the trajectory leaves its chord."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from schedules.search.method import Sampler, Samplers
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import shortest_grids
from schedules.search.teacher import Teacher
from schedules.table import FloatArray


def gits(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    coefficient: float = 1.15,
    solver: str = "ipndm",
) -> Samplers:
    """GITS (Chen et al. 2024, "On the Trajectory Regularity of ODE-based Diffusion Sampling").

    No evaluation beside the teacher's. Memory: three latents in float64 for each seed, beside the teacher.

    Args:
        teacher: the calibration seeds' trajectories; the paper's has 60 steps over 256 seeds.
        problem: the same seeds; not evaluated.
        budgets: numbers of steps, in 1..N.
        coefficient: what a step's cost weighs relative to the step before it; the paper's is 1.1 to 1.2.
        solver: what samples on the grids; the paper's best is iPNDM.

    Raises:
        ValueError: a budget beyond the teacher's grid, or a coefficient that is not > 0.
    """
    del problem
    grids = shortest_grids(deviation_costs(teacher), teacher.sigmas, budgets, discount=coefficient)
    return {steps: Sampler.compiled(solver, sigmas) for steps, sigmas in grids.items()}


def deviation_costs(teacher: Teacher) -> FloatArray:
    """How much farther than the teacher one Euler step from its state at i to node j lies from the chord.

    The chord is the line through a seed's first and last state; the distance of the step's end from it, less that of
    the teacher's own state at j, is averaged over the seeds. It may be negative: a step may cut the corner.

    Returns:
        Costs at [i, j] for i < j, infinite elsewhere, shape (N + 1, N + 1), float64.
    """
    count = teacher.nodes_count
    costs = np.full((count + 1, count + 1), np.inf)
    own = np.array([_distances(teacher, node).mean() for node in range(count + 1)])
    for i in range(count):
        gaps = teacher.sigmas[i + 1 :] - teacher.sigmas[i]
        costs[i, i + 1 :] = _jump_distances(teacher, i, gaps).mean(1) - own[i + 1 :]
    return costs


def _distances(teacher: Teacher, node: int) -> FloatArray:
    """The distance of each seed's state from its chord, shape (M,)."""
    return np.asarray(_across(teacher, _offset(teacher, node)).norm(dim=1).cpu().numpy())


def _jump_distances(teacher: Teacher, node: int, gaps: FloatArray) -> FloatArray:
    """The same after Euler steps of n lengths from a node, shape (n, M).

    Across the chord a step is a + gap v, so three products per seed give its length for every gap.
    """
    a = _across(teacher, _offset(teacher, node))
    v = _across(teacher, _flat(teacher.velocities[node]))
    aa, av, vv = ((one * other).sum(1).cpu().numpy() for one, other in ((a, a), (a, v), (v, v)))
    steps = gaps[:, None]
    return np.asarray(np.sqrt(np.maximum(aa + 2 * steps * av + steps**2 * vv, 0.0)))


def _offset(teacher: Teacher, node: int) -> Tensor:
    return _flat(teacher.states[node]) - _flat(teacher.states[0])


def _across(teacher: Teacher, vectors: Tensor) -> Tensor:
    """The part of each seed's vector at right angles to its chord, shape (M, D), float64."""
    chord = torch.nn.functional.normalize(_offset(teacher, teacher.nodes_count), dim=1)
    return vectors - (vectors * chord).sum(1, keepdim=True) * chord


def _flat(states: Tensor) -> Tensor:
    return states.flatten(1).double()
