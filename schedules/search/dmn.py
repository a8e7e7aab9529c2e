"""Optimised time steps without a network (DMN: Xue et al., CVPR 2024).

An exponential multistep sampler writes the result as a weighted sum of the network's clean images: over a step of
length h in lambda = log((1 - sigma) / sigma) it integrates e^lambda times their interpolating polynomial. If the clean
image at node n is wrong by at most eps_n = sigma_n^p / (1 - sigma_n), the result is wrong by at most the sum of
eps_n |weight_n|; the nodes are moved to where that bound is least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from schedules.search.method import Sampler, Samplers
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

_FEW = 7
"""Up to so many steps the paper is cautious."""


def dmn(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    power: float = 2.0,
    order: int = 3,
    sigma_max: float = 0.99,
    sigma_min: float = 0.01,
    cautious: bool = True,
    solver: str = "dpmpp-2m",
) -> Samplers:
    """DMN (Xue et al. 2024, "Accelerating Diffusion Sampling with Optimized Time Steps").

    No evaluation at all; budgets 1..20 take seconds. Memory: nothing to speak of.

    Args:
        teacher: not needed.
        problem: not evaluated.
        budgets: numbers of steps, each >= 1.
        power: p of the assumed error sigma^p / (1 - sigma): 1 for pixels, 2 for latents.
        order: of the assumed sampler, 1 to 3; the first and last steps have lower ones.
        sigma_max: the level that stands for pure noise, whose lambda is infinite.
        sigma_min: the level that stands for 0.
        cautious: see `Bound`; the paper is so up to seven steps only. Beyond, a descent that is free to move finds
            grids for a flow whose bound is small by cancellation alone: false leaves 8 and 10 steps far behind 6.
        solver: what samples on the grids; the paper uses DPM-Solver++ and UniPC.

    Raises:
        ValueError: a budget below 1, an order or a range that cannot be.
    """
    del teacher, problem
    if min(budgets) < 1:
        raise ValueError(f"budgets: must be at least 1, are {tuple(budgets)}")
    if not 0 < sigma_min < sigma_max < 1:
        raise ValueError(f"sigma_min, sigma_max: must be 0 < sigma_min < sigma_max < 1, are {sigma_min}, {sigma_max}")
    ends = (_log_snr(sigma_max), _log_snr(sigma_min))
    bounds = {k: Bound(power, order, cautious=cautious or k <= _FEW) for k in budgets}
    levels = {k: sigmas_of(optimised(k, ends, bounds[k])) for k in budgets}
    for sigmas in levels.values():
        sigmas[[0, -1]] = 1.0, 0.0
    return {k: Sampler.compiled(solver, sigmas) for k, sigmas in levels.items()}


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound on the result's error, up to a factor.

    Attributes:
        power: of the assumed error.
        order: of the assumed sampler, 1 to 3.
        cautious: let the first three steps enter by the root of their terms' sum of squares, since what cancels between
            such long steps cannot be relied on.

    Raises:
        ValueError: an order that is not 1 to 3.
    """

    power: float = 2.0
    order: int = 3
    cautious: bool = True

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise ValueError(f"order: must be 1, 2 or 3, is {self.order}")

    def __call__(self, nodes: FloatArray) -> FloatArray:
        """The bounds of P grids of rising log signal-to-noise ratios, shape (P, steps + 1) to (P,)."""
        steps = nodes.shape[1] - 1
        errors = sigmas_of(nodes) ** self.power / sigmas_of(-nodes)  # sigma of -lambda is 1 - sigma
        signed = np.zeros_like(nodes)
        apart = np.zeros(len(nodes))
        for k in range(steps):
            past = min(self.order, k + 1, steps - k)
            used = slice(k + 1 - past, k + 1)
            terms = step_weights(nodes[:, k + 1 - past : k + 2]) * errors[:, used]
            if self.cautious and k < 3:
                apart += np.sqrt((terms**2).sum(1))
            else:
                signed[:, used] += terms
        return np.asarray(apart + np.abs(signed).sum(1))


def optimised(steps: int, ends: tuple[float, float], bound: Bound) -> FloatArray:
    """The nodes of the least bound between two log signal-to-noise ratios, shape (steps + 1,), rising.

    Quasi-Newton descent in the logarithms of the gaps, from nodes even in lambda and from nodes even in sigma; the
    better of the two is returned.
    """
    highest, lowest = sigmas_of(np.array(ends)).tolist()
    even_sigmas = np.linspace(highest, lowest, steps + 1)
    starts = [np.linspace(ends[0], ends[1], steps + 1), np.log1p(-even_sigmas) - np.log(even_sigmas)]
    found = np.stack([_descended(start, bound) for start in starts])
    return np.asarray(found[int(np.argmin(bound(found)))])


def step_weights(nodes: FloatArray) -> FloatArray:
    """What each clean image weighs in the integral of e^lambda over the last interval.

    Args:
        nodes: the q latest nodes and the step's end, rising, shape (P, q + 1).

    Returns:
        Weights of the nodes' interpolating polynomial, oldest first, shape (P, q), float64.
    """
    start = nodes[:, -2, None]
    past = nodes[:, :-1] - start
    step = (nodes[:, -1:] - start)[:, 0]
    moments = [np.expm1(step)]  # of tau^m e^tau over the step, by parts
    for m in range(1, past.shape[1]):
        moments.append(step**m * np.exp(step) - m * moments[-1])
    vandermonde = past[:, None, :] ** np.arange(past.shape[1])[None, :, None]
    weights = np.linalg.solve(vandermonde, np.stack(moments, axis=1)[..., None])[..., 0]
    return np.asarray(np.exp(start) * weights)


def sigmas_of(nodes: FloatArray) -> FloatArray:
    """Noise levels of log signal-to-noise ratios, 1 / (1 + e^lambda)."""
    return np.asarray(1.0 / (1.0 + np.exp(nodes)))


def _log_snr(sigma: float) -> float:
    return float(np.log1p(-sigma) - np.log(sigma))


def _descended(start: FloatArray, bound: Bound) -> FloatArray:
    """The nodes after the descent, or the start where it only got worse."""
    steps = len(start) - 1
    if steps == 1:
        return start
    first, length = start[0], start[-1] - start[0]

    def nodes(log_gaps: FloatArray) -> FloatArray:
        gaps = np.exp(log_gaps - log_gaps.max(-1, keepdims=True)) + 1e-4
        rising = first + length * np.cumsum(gaps / gaps.sum(-1, keepdims=True), axis=-1)
        return np.concatenate([np.full_like(rising[..., :1], first), rising], axis=-1)

    def value_and_slope(log_gaps: FloatArray) -> tuple[float, FloatArray]:
        moves = 1e-5 * np.eye(steps)
        tried = np.concatenate([log_gaps[None], log_gaps + moves, log_gaps - moves])
        values = np.log(bound(nodes(tried)))
        return float(values[0]), (values[1 : steps + 1] - values[steps + 1 :]) / 2e-5

    result = minimize(value_and_slope, np.log(np.diff(start)), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    candidates = np.stack([start, nodes(np.asarray(result.x))])
    return np.asarray(candidates[int(np.argmin(bound(candidates)))])
