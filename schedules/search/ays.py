"""Align Your Steps (AYS: Sabour et al., ICML 2024): a bound on what freezing the clean image for a step costs.

On an interval from t down, a first-order sampler freezes the clean image that the network predicts at t. By Girsanov's
theorem the divergence between the exact and the frozen reverse process is at most (KLUB)

    sum over intervals (i, i+1] of  1/2 integral of E |D(x_s, s) - D(x_{t_i}, t_i)|^2  d snr(s),    snr = ((1-s)/s)^2

with x_s a noised picture and x_{t_i} the same noised further. It needs no trajectory; it knows neither the solver nor
what guidance does to the path. One chain of rising noise for each seed gives the expectation for every pair of levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from schedules.search.method import Sampler, Samplers
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import Path
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

_FIRST_BUDGET = 10
_SEEDS_AT_ONCE = 16


def ays(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    nodes: int = 80,
    sigma_min: float = 0.02,
    seed: int = 0,
    solver: str = "dpmpp-2m",
) -> Samplers:
    """AYS (Sabour et al. 2024, its KL upper bound by Monte Carlo, coordinate search).

    Takes seeds x (nodes + 1) evaluations for all budgets together. Memory: nodes + 1 latents for each seed, and in
    float64 for 16 seeds at a time.

    As in the paper the schedule of 10 steps is optimised first, that of 20 begins from its subdivision, that of 40 from
    the next; any other number of steps begins from the nearest of these, stretched log-linearly. The teacher's
    pictures stand for the data.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds.
        budgets: numbers of steps, in 1..nodes.
        nodes: intervals of the grid that levels are taken from.
        sigma_min: the least level, in 0..1, which stands for 0; the bound grows without limit towards 0.
        seed: of the noise that the pictures are given.
        solver: what samples on the grids; the paper uses DPM-Solver++ 2M beside stochastic ones.

    Raises:
        ValueError: a budget or a least level that cannot be.
    """
    if not 1 <= min(budgets) <= max(budgets) <= nodes:
        raise ValueError(f"budgets: must be in 1..{nodes} (the grid's intervals), are {tuple(budgets)}")
    levels = candidate_levels(nodes, sigma_min)
    costs = klub_costs(levels, clean_distances(teacher.final, problem, levels, seed=seed))
    paths = schedules(costs, budgets)
    sigmas = {k: levels[list(path)] for k, path in paths.items()}
    for values in sigmas.values():
        values[-1] = 0.0
    return {k: Sampler.compiled(solver, values) for k, values in sigmas.items()}


def candidate_levels(nodes: int, sigma_min: float) -> FloatArray:
    """Pure noise, and levels even in the log ratio of signal to noise from 1 - sigma_min to sigma_min.

    Returns:
        Falling levels, shape (nodes + 1,), float64.

    Raises:
        ValueError: fewer than 2 nodes, or sigma_min not between 0 and 1/2.
    """
    if nodes < 2 or not 0 < sigma_min < 0.5:
        raise ValueError(f"nodes, sigma_min: must be at least 2, and > 0 and < 1/2, are {nodes}, {sigma_min}")
    end = np.log1p(-sigma_min) - np.log(sigma_min)
    return np.append(1.0, 1.0 / (1.0 + np.exp(np.linspace(-end, end, nodes))))


def clean_distances(pictures: Tensor, problem: SearchProblem, levels: FloatArray, *, seed: int = 0) -> FloatArray:
    """E |D_i - D_j|^2 of the clean images predicted at any two levels of one noising chain, summed over elements.

    Args:
        pictures: clean samples, shape (M, *latent).
        problem: their seeds, which name the prompts.
        levels: falling, the first 1, shape (n,).
        seed: of the chain's noise.

    Returns:
        The means over the seeds, shape (n, n), float64.
    """
    clean = torch.empty((len(levels), *pictures.shape))
    for k, (x, sigma) in enumerate(zip(_chain(pictures, levels[::-1], seed), levels[::-1], strict=True)):
        clean[-1 - k] = (x - float(sigma) * problem.velocity(x, float(sigma))).cpu()
    total = np.zeros((len(levels), len(levels)))
    for part in clean.flatten(2).split(_SEEDS_AT_ONCE, dim=1):
        vectors = part.transpose(0, 1).double()
        total += torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist").square().sum(0).numpy()
    return np.asarray(total / len(pictures))


def klub_costs(levels: FloatArray, distances: FloatArray) -> FloatArray:
    """The bound's share of the interval from level i to level j, by the trapezoidal rule over the levels between.

    Returns:
        Costs at [i, j] for i < j, infinite elsewhere, shape (n, n), float64.
    """
    snr = ((1.0 - levels) / levels) ** 2
    pieces = 0.25 * (distances[:, 1:] + distances[:, :-1]) * np.diff(snr)
    sums = np.concatenate([np.zeros((len(levels), 1)), np.cumsum(pieces, axis=1)], axis=1)
    costs = sums - np.diag(sums)[:, None]
    return np.where(np.triu(np.ones_like(costs, dtype=bool), 1), costs, np.inf)


def schedules(costs: FloatArray, budgets: Sequence[int]) -> dict[int, Path]:
    """Ten steps searched first, then doubled and searched again; the others from the nearest of these."""
    last = len(costs) - 1
    anchor = min(_FIRST_BUDGET, last)
    anchors = {anchor: coordinate_search(costs, tuple(np.linspace(0, last, anchor + 1).round().astype(int).tolist()))}
    while 2 * anchor <= min(last, 2 * max(budgets) - 1):
        anchors[2 * anchor] = coordinate_search(costs, subdivided(anchors[anchor], last))
        anchor *= 2
    found = {}
    for budget in budgets:
        nearest = min(anchors, key=lambda steps: (abs(np.log(steps / budget)), steps))
        start = anchors[nearest]
        found[budget] = start if nearest == budget else coordinate_search(costs, restretched(start, budget))
    return found


def coordinate_search(costs: FloatArray, path: Path) -> Path:
    """Move one inner node at a time to its best place between its neighbours, until none moves."""
    nodes = list(path)
    moved = True
    while moved:
        moved = False
        for k in range(1, len(nodes) - 1):
            before, after = nodes[k - 1], nodes[k + 1]
            through = costs[before, before + 1 : after] + costs[before + 1 : after, after]
            best = before + 1 + int(through.argmin())
            if through[best - before - 1] < costs[before, nodes[k]] + costs[nodes[k], after]:
                nodes[k], moved = best, True
    return tuple(nodes)


def subdivided(path: Path, last: int) -> Path:
    """Every step halved, as far as the grid allows: twice as many steps."""
    return _apart([node for a, b in pairwise(path) for node in (a, (a + b) / 2)] + [path[-1]], last)


def restretched(path: Path, steps: int) -> Path:
    """The path's curve, linear over the share of steps done, at another number of steps."""
    shares = np.linspace(0.0, 1.0, steps + 1)
    return _apart(np.interp(shares, np.linspace(0.0, 1.0, len(path)), path).tolist(), path[-1])


def _apart(places: Sequence[float], last: int) -> Path:
    """Whole nodes near the places, rising strictly from 0 to the last."""
    nodes = [0]
    for k, place in enumerate(places[1:], start=1):
        left = len(places) - 1 - k
        nodes.append(min(max(round(place), nodes[-1] + 1), last - left))
    return tuple(nodes)


def _chain(pictures: Tensor, rising: FloatArray, seed: int) -> Iterator[Tensor]:
    """The pictures noised further and further: x' = a x + b z, with (1 - s') of the picture and variance s'^2."""
    generator = torch.Generator().manual_seed(seed)
    x, level = pictures, 0.0
    for following in rising:
        kept = (1.0 - following) / (1.0 - level)
        fresh = float(np.sqrt(following**2 - (kept * level) ** 2))
        noise = torch.randn(pictures.shape, generator=generator, dtype=torch.float32).to(pictures.device)
        x, level = float(kept) * x + fresh * noise, following
        yield x
