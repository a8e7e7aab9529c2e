"""A flow with a known velocity: a Gaussian mixture, exact in float64; for tests and experiments without a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from schedules.search.problem import SearchProblem
from schedules.table import FloatArray


@dataclass(frozen=True, eq=False)
class MixtureFlow:
    """The flow x = (1 - sigma) x0 + sigma noise from noise to a mixture of isotropic Gaussians.

    Attributes:
        means: centres, shape (G, D), float64.
        spread: standard deviation of every component.
        log_weights: of the components, shape (G,), float64.
    """

    means: Tensor
    spread: float
    log_weights: Tensor

    def velocity(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[noise - x0 | x], exact.

        Args:
            x: samples, shape (B, D), float64.
            sigma: noise levels in 0..1, shape (B,), float64.
        """
        data, noise = (1 - sigma)[:, None, None], sigma[:, None, None]
        variance = data**2 * self.spread**2 + noise**2  # (B, 1, 1)
        offset = x[:, None, :] - data * self.means  # (B, G, D)
        scores = self.log_weights - offset.square().sum(-1) / (2 * variance[..., 0])
        share = torch.softmax(scores, dim=1)[..., None]
        gain = (noise - data * self.spread**2) / variance
        return (share * (gain * offset - self.means)).sum(1)

    def __call__(self, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        """The velocity as a network with time 1000 sigma gives it, float32."""
        del rows  # every seed has the same mixture
        return self.velocity(x.double(), t.double() / 1000).float()


def gaussian_mixture(*, dimensions: int = 32, components: int = 12, spread: float = 0.3, seed: int = 0) -> MixtureFlow:
    """A random mixture with centres of unit variance per dimension."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn((components, dimensions), generator=generator, dtype=torch.float64)
    weights = torch.rand((components,), generator=generator, dtype=torch.float64) + 0.5
    return MixtureFlow(means, spread, (weights / weights.sum()).log())


def mixture_problem(flow: MixtureFlow, seeds: int, *, seed_offset: int = 0, batch: int = 4096) -> SearchProblem:
    """Seeds of a mixture; seed k's noise depends on k alone."""
    dimensions = flow.means.shape[1]
    noise = [torch.randn(dimensions, generator=torch.Generator().manual_seed(seed_offset + k)) for k in range(seeds)]
    return SearchProblem(torch.stack(noise), flow, batch=batch)


def reference(flow: MixtureFlow, noise: Tensor, *, steps: int = 400) -> Tensor:
    """The flow's end points by the classical Runge-Kutta method in float64, error far below 1e-8, shape (M, D)."""
    x = noise.double()
    sigmas = np.sin(np.linspace(math.pi / 2, 0.0, steps + 1))  # finer near pure noise, where paths part
    for start, end in pairwise(sigmas):
        x = _runge_kutta_step(flow, x, float(start), float(end))
    return x


def trajectory(flow: MixtureFlow, noise: Tensor, sigmas: FloatArray, *, substeps: int = 40) -> Tensor:
    """The flow's samples at given noise levels, as exact as `reference`, shape (n, M, D), float64.

    Args:
        flow: the mixture.
        noise: the samples at the first level, shape (M, D).
        sigmas: noise levels, falling, shape (n,).
        substeps: steps of Runge and Kutta from one level to the next.
    """
    states = [noise.double()]
    for start, end in pairwise(sigmas):
        x = states[-1]
        for before, after in pairwise(np.linspace(start, end, substeps + 1)):
            x = _runge_kutta_step(flow, x, float(before), float(after))
        states.append(x)
    return torch.stack(states)


def _runge_kutta_step(flow: MixtureFlow, x: Tensor, start: float, end: float) -> Tensor:
    def velocity(sample: Tensor, sigma: float) -> Tensor:
        return flow.velocity(sample, torch.full((len(sample),), sigma, dtype=torch.float64))

    gap, middle = end - start, (start + end) / 2
    k1 = velocity(x, start)
    k2 = velocity(x + gap / 2 * k1, middle)
    k3 = velocity(x + gap / 2 * k2, middle)
    k4 = velocity(x + gap * k3, end)
    return x + gap / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
