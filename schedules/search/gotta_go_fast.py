"""Adaptive step sizes for each seed (Jolicoeur-Martineau et al. 2021, "Gotta Go Fast", algorithm 1), without noise.

Heun's method with Euler's inside it on the probability-flow ODE. What it costs is known afterwards only, and each seed
has noise levels of its own, so that it cannot be served under a budget; the laboratory compares at equal means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from schedules.search.problem import SearchProblem

_SAFETY, _EXPONENT = 0.9, 0.9
_LEAST_STEP = 1e-3
_LOWEST, _HIGHEST = 1e-6, 1e3
_LEAST_BUDGET = 5  # two of Heun's steps and the last


@dataclass(frozen=True, slots=True)
class AdaptiveOptions:
    """Switches of the step-size control.

    Attributes:
        first_step: the first try, in sigma; the paper's 0.01 is for hundreds of evaluations. Budgets below 5 begin
            with the whole way.
        end: where the last step, to the clean image as predicted there, begins.
        share: the absolute tolerance as a share of the relative one.
    """

    first_step: float = 0.3
    end: float = 0.05
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.end < 1 or not 0 < self.first_step <= 1 - self.end + 1e-12:
            raise ValueError(f"first_step, end: must leave 0 < end < 1 - first_step, are {self.first_step}, {self.end}")


@dataclass(frozen=True, eq=False)
class Adaptive:
    """What a tolerance drew.

    Attributes:
        final: the samples, shape (M, *latent).
        evaluations: guided evaluations of each seed, shape (M,), int64.
        tolerance: the relative tolerance.
        options: the switches.
    """

    final: Tensor
    evaluations: Tensor
    tolerance: float
    options: AdaptiveOptions

    @property
    def mean_evaluations(self) -> float:
        """The mean over the seeds."""
        return float(self.evaluations.double().mean())


def gotta_go_fast(
    problem: SearchProblem, budgets: Sequence[int], *, bisections: int = 12, options: AdaptiveOptions | None = None
) -> Mapping[int, Adaptive]:
    """Gotta Go Fast (Jolicoeur-Martineau et al. 2021, algorithm 1) at equal mean evaluations.

    The tolerance of each budget is bisected, at M x budget x `bisections` guided steps: 64 seeds, 8 steps are 6,100.
    Draw other seeds with `draw_adaptively` and the tolerance and options found. Memory: 6 M latents.

    Args:
        problem: the seeds.
        budgets: mean evaluations for each seed, each >= 3.
        bisections: halvings of the tolerance's logarithm.
        options: the switches of the step-size control.

    Returns:
        For each budget the draw whose mean evaluations come nearest to it from below.

    Raises:
        ValueError: a budget below a first step, Heun's, and a last one.
    """
    if min(budgets) < 3:
        raise ValueError(f"budget: must be at least 3 (Heun's step and a last one), is {min(budgets)}")
    chosen = options or AdaptiveOptions()
    return {budget: _bisected(problem, budget, bisections, chosen) for budget in budgets}


def draw_adaptively(problem: SearchProblem, tolerance: float, options: AdaptiveOptions | None = None) -> Adaptive:
    """Draw every seed with step sizes of its own.

    A step is taken if the root mean square of (Heun - Euler) / max(absolute, relative max(|x|, |x before|)) is at most
    1; the next is 0.9 error^-0.9 times as long. A refused step keeps its first velocity. Memory: 6 M latents.

    Args:
        problem: the seeds.
        tolerance: the relative one, > 0.
        options: the switches.

    Raises:
        ValueError: a tolerance that is not positive.
    """
    if tolerance <= 0:
        raise ValueError(f"tolerance: must be > 0, is {tolerance}")
    return _Control(problem, tolerance, options or AdaptiveOptions()).run()


class _Control:
    """The samples, each at its own noise level."""

    def __init__(self, problem: SearchProblem, tolerance: float, options: AdaptiveOptions) -> None:
        count = problem.seeds_count
        self._problem, self._tolerance, self._options = problem, tolerance, options
        self._x, self._before = problem.noise.clone(), problem.noise.clone()
        self._v = torch.zeros_like(problem.noise)
        self._sigma = torch.ones(count, dtype=torch.float64)
        self._step = torch.full((count,), options.first_step, dtype=torch.float64)
        self._known = torch.zeros(count, dtype=torch.bool)
        self._evaluations = torch.zeros(count, dtype=torch.int64)

    def run(self) -> Adaptive:
        while len(seeds := torch.nonzero(self._sigma > self._options.end).flatten()):
            self._try(seeds)
        everyone = torch.arange(self._problem.seeds_count)
        final = self._x - _wide(self._sigma, self._x) * self._velocity(everyone, self._x, self._sigma)
        return Adaptive(final, self._evaluations, self._tolerance, self._options)

    def _try(self, seeds: Tensor) -> None:
        """One step of each of these seeds, taken or refused."""
        fresh = seeds[~self._known[seeds]]
        self._v[fresh] = self._velocity(fresh, self._x[fresh], self._sigma[fresh])
        x, v, after = self._x[seeds], self._v[seeds], self._after(seeds)
        gap = _wide(after - self._sigma[seeds], x)
        euler = x + gap * v
        correction = gap / 2 * (self._velocity(seeds, euler, after) - v)
        error = self._error(seeds, euler, correction)
        taken = (error <= 1) | (self._step[seeds] <= _LEAST_STEP)
        moved = seeds[taken]
        self._x[moved], self._before[moved] = (euler + correction)[taken], euler[taken]
        self._sigma[moved] = after[taken]
        self._known[seeds] = ~taken
        self._step[seeds] = self._next_step(seeds, error)

    def _after(self, seeds: Tensor) -> Tensor:
        """Where a step would lead; the end exactly, if it comes near it."""
        after = self._sigma[seeds] - self._step[seeds]
        return torch.where(after < self._options.end + _LEAST_STEP, self._options.end, after)

    def _error(self, seeds: Tensor, euler: Tensor, correction: Tensor) -> Tensor:
        scale = torch.maximum(euler.abs(), self._before[seeds].abs()).clamp_min(self._options.share)
        return (
            (correction / (self._tolerance * scale))
            .square()
            .flatten(1)
            .mean(1)
            .sqrt()
            .double()
            .cpu()
            .nan_to_num(nan=1e6)
        )

    def _next_step(self, seeds: Tensor, error: Tensor) -> Tensor:
        """As long as the error allows, at most to the end, and long enough to get there."""
        wished = _SAFETY * self._step[seeds] * error.clamp_min(1e-12) ** -_EXPONENT
        left = self._sigma[seeds] - self._options.end
        return torch.minimum(wished.clamp_min(_LEAST_STEP), left)

    def _velocity(self, seeds: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        if not len(seeds):
            return x
        self._evaluations[seeds] += 1
        times = (self._problem.time_scale * sigma).float()
        return self._problem.output(x, times, seeds, self._problem.guidance_scale)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).reshape(-1, *(1,) * (like.ndim - 1))


def _bisected(problem: SearchProblem, budget: int, bisections: int, options: AdaptiveOptions) -> Adaptive:
    """The least tolerance whose mean evaluations are within the budget, to the bisection's fineness."""
    if budget < _LEAST_BUDGET:
        options = replace(options, first_step=1 - options.end)
    low, high = _LOWEST, _HIGHEST
    best = draw_adaptively(problem, high, options)
    for _ in range(bisections):
        tolerance = (low * high) ** 0.5
        found = draw_adaptively(problem, tolerance, options)
        if found.mean_evaluations <= budget:
            high, best = tolerance, found
        else:
            low = tolerance
    return best
