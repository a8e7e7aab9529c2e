"""CMA-ES on the logarithms of a grid's gaps (Hansen 2016, "The CMA Evolution Strategy: A Tutorial")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from cmaes import CMA

from schedules.search.evolution import Fitness
from schedules.search.grid_parameters import levels, log_gaps
from schedules.search.method import Samplers
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.s4s import SHIFT_3, Grid
from schedules.search.teacher import Teacher
from schedules.table import FloatArray


def cma_es(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    calibration: Split | None = None,
    solver: str = "euler",
    grid: Grid = SHIFT_3,
    width: float = 0.3,
    candidates: int = 300,
    seeds: int = 16,
    finalists: int = 5,
    log: bool = False,
    seed: int = 0,
) -> Samplers:
    """CMA-ES (Hansen 2016, figure 6) on a grid's log-gaps with the pooled final error as its fitness.

    Each budget of S > 1 steps takes (candidates x seeds + finalists x M) S guided steps: 300, 16 seeds, 8 steps and M =
    64 are 41,000. Memory: 3 S latents for each seed.

    Args:
        teacher: the calibration seeds' results; the states between are not read.
        problem: the same seeds.
        budgets: numbers of steps.
        calibration: where the final errors of `problem` are compared, pictures for instance; latents by default.
        solver: one that has a compiler.
        grid: where the noise levels begin, falling from 1 to 0.
        width: the first standard deviation of a log-gap.
        candidates: grids that are tried.
        seeds: how many of the calibration seeds say how fit a grid is.
        finalists: the fittest grids, of which all M calibration seeds choose.
        log: pool by the geometric mean.
        seed: of the draws.
    """
    fitness = Fitness(teacher, problem, solver, log=log, calibration=calibration)
    found = {}
    for budget in budgets:
        ranked = _ranked(fitness, grid(budget), width, candidates, seeds=seeds, seed=seed)
        found[budget] = fitness.best(ranked[:finalists])
    return found


def _ranked(
    fitness: Fitness, start: FloatArray, width: float, candidates: int, *, seeds: int, seed: int
) -> list[FloatArray]:
    """All grids that were tried, the fittest first; one step leaves nothing to try."""
    if len(start) == 2:
        return [start]
    strategy = CMA(mean=log_gaps(start).numpy(), sigma=width, seed=seed)
    tried: list[tuple[float, FloatArray]] = []
    while len(tried) < candidates:
        points = [strategy.ask() for _ in range(strategy.population_size)]
        grids = [levels(torch.tensor(point)).numpy() for point in points]
        errors = fitness(grids, seeds=seeds)
        strategy.tell(list(zip(points, errors, strict=True)))
        tried += zip(errors, grids, strict=True)
    return [sigmas for _, sigmas in sorted(tried, key=lambda found: found[0])]
