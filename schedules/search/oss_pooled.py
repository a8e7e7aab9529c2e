"""OSS with its cost pooled over the seeds (after Pei et al. 2025, algorithm 1) as a method; `oss` is the search."""

from __future__ import annotations

from collections.abc import Sequence

from schedules.search.method import Sampler, Samplers
from schedules.search.oss import OssOptions, search_paths
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher


def oss_pooled(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    seeds: int = 64,
    options: OssOptions | None = None,
) -> Samplers:
    """OSS with the cost pooled before the choice (after Pei et al. 2025, algorithm 1), for Euler's method.

    Takes at most seeds x N x the largest budget x `options.candidates` guided steps for all budgets together, in
    practice about three quarters: 64 seeds, 50 nodes and 12 steps are some 58,000. Memory: 3 N latents for each seed.

    Args:
        teacher: the calibration seeds' trajectories.
        problem: the same seeds.
        budgets: numbers of steps, in 1..N.
        seeds: how many of them are used, all if there are fewer.
        options: the switches of the search.

    Raises:
        ValueError: a budget beyond the teacher's grid.
    """
    count = min(seeds, problem.seeds_count)
    paths = search_paths(problem.take(count), teacher.take(count), max(budgets), options)
    return {budget: Sampler.compiled("euler", paths[budget - 1].sigmas) for budget in budgets}
