"""The teacher: Euler's method with many steps, its states and velocities kept for the searches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from schedules.search.problem import SearchProblem
from schedules.table import FloatArray


@dataclass(frozen=True, eq=False)
class Teacher:
    """The teacher's trajectories at the nodes of a grid.

    Attributes:
        sigmas: the grid, falling from 1 to 0, shape (N + 1,), float64.
        states: the samples at each node, shape (N + 1, M, *latent), float32.
        velocities: the guided velocities at each node but the last, shape (N, M, *latent), float32.
        steps: the steps that the teacher made, a multiple of N.
    """

    sigmas: FloatArray
    states: Tensor
    velocities: Tensor
    steps: int

    @property
    def nodes_count(self) -> int:
        """N, the intervals of the grid."""
        return len(self.sigmas) - 1

    @property
    def final(self) -> Tensor:
        """The finished samples, shape (M, *latent)."""
        return self.states[-1]

    def x0(self, node: int) -> Tensor:
        """The clean image as predicted at a node: x - sigma v; at the last node the sample itself."""
        if node == self.nodes_count:
            return self.final
        return self.states[node] - float(self.sigmas[node]) * self.velocities[node]

    def state_at(self, sigma: float) -> Tensor:
        """The samples at any noise level, linear between the nodes as Euler's steps are, shape (M, *latent)."""
        if not self.sigmas[-1] <= sigma <= self.sigmas[0]:
            raise ValueError(f"sigma: must be in {self.sigmas[-1]}..{self.sigmas[0]}, is {sigma}")
        after = int(np.clip(np.searchsorted(-self.sigmas, -sigma), 1, self.nodes_count))
        before = after - 1
        share = float((self.sigmas[before] - sigma) / (self.sigmas[before] - self.sigmas[after]))
        return torch.lerp(self.states[before], self.states[after], share)

    def take(self, count: int) -> Teacher:
        """The trajectories of the first `count` seeds only."""
        return Teacher(self.sigmas, self.states[:, :count], self.velocities[:, :count], self.steps)

    def local_change(self) -> FloatArray:
        """How fast the velocity turns, RMS of dv/dsigma over seeds and elements at each inner node, shape (N - 1,)."""
        gaps = torch.tensor(-np.diff(self.sigmas)[:-1], dtype=torch.float32)
        change = (self.velocities[1:] - self.velocities[:-1]).flatten(1).square().mean(1).sqrt().cpu() / gaps
        return np.asarray(change.double().numpy())


def run_teacher(problem: SearchProblem, steps: int, *, nodes: int | None = None) -> Teacher:
    """Draw every seed with Euler's method on a uniform grid.

    Args:
        problem: the seeds.
        steps: Euler steps.
        nodes: nodes whose states are kept, a divisor of `steps`; all by default. 1 keeps the two ends only. Memory is
            (2 nodes + 1) M latents of float32.

    Raises:
        ValueError: nodes that do not divide the steps.
    """
    kept = steps if nodes is None else nodes
    if steps < 1 or kept < 1 or steps % kept:
        raise ValueError(f"nodes: must divide the teacher's {steps} steps, is {kept}")
    stride = steps // kept
    sigmas = np.linspace(1.0, 0.0, steps + 1)
    states = problem.noise.new_empty((kept + 1, *problem.noise.shape))
    velocities = problem.noise.new_empty((kept, *problem.noise.shape))
    x = problem.noise.clone()
    for k in range(steps):
        v = problem.velocity(x, float(sigmas[k]))
        if k % stride == 0:
            states[k // stride], velocities[k // stride] = x, v
        x = x + float(sigmas[k + 1] - sigmas[k]) * v
    states[kept] = x
    return Teacher(sigmas[::stride].copy(), states, velocities, steps)
