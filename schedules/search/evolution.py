"""AutoDiffusion: an evolutionary search over subsets of the teacher's nodes (Li et al. 2023, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from schedules.compile import compile_table
from schedules.search.method import Sampler, Samplers
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split, grid_errors
from schedules.search.shortest_path import Path
from schedules.search.teacher import Teacher
from schedules.table import FloatArray


@dataclass(frozen=True, slots=True)
class EvolutionOptions:
    """Switches of the search, with the paper's numbers.

    Attributes:
        population: candidates of a generation.
        generations: how many there are.
        parents: the best candidates so far, from which the next generation comes.
        mutants: of a generation, each a parent some of whose nodes were replaced.
        crosses: of a generation, each with every node from one of two parents; the rest are random.
        rate: probability that a mutation replaces a node.
        first_rate: the same in the first generation, half of which are mutants of the uniform grid.
    """

    population: int = 50
    generations: int = 10
    parents: int = 10
    mutants: int = 25
    crosses: int = 15
    rate: float = 0.25
    first_rate: float = 0.1

    def __post_init__(self) -> None:
        if min(self.population, self.generations, self.parents) < 1:
            raise ValueError("population, generations, parents: must be at least 1")
        if self.mutants < 0 or self.crosses < 0 or self.mutants + self.crosses > self.population:
            raise ValueError(f"mutants, crosses: must fit into the population of {self.population}")


class Fitness:
    """The pooled final error of grids on a few seeds; what two grids have in common at the start is evaluated once.

    Args:
        teacher: the seeds' results.
        problem: the seeds.
        solver: one that has a compiler.
        log: pool by the geometric mean.
        calibration: where the results of these seeds are compared; in latents by default.
    """

    def __init__(
        self, teacher: Teacher, problem: SearchProblem, solver: str, *, log: bool, calibration: Split | None = None
    ) -> None:
        self._split, self._solver, self._log = calibration or Split(problem, teacher.final), solver, log

    def __call__(self, grids: Sequence[FloatArray], *, seeds: int) -> list[float]:
        """The error of each grid on the first seeds."""
        order = sorted(range(len(grids)), key=lambda i: tuple(grids[i]))
        split = self._split.take(min(seeds, self._split.problem.seeds_count))
        ordered = [grids[i] for i in order]
        errors = grid_errors(split, ordered, lambda s: compile_table(self._solver, s, "flow"), log=self._log)
        return [error for _, error in sorted(zip(order, errors, strict=True))]

    def best(self, grids: Sequence[FloatArray]) -> Sampler:
        """The grid with the least error on all seeds."""
        errors = self(grids, seeds=self._split.problem.seeds_count)
        return Sampler.compiled(self._solver, grids[int(np.argmin(errors))])


def auto_diffusion(
    teacher: Teacher,
    problem: SearchProblem,
    budgets: Sequence[int],
    *,
    calibration: Split | None = None,
    solver: str = "euler",
    seeds: int = 16,
    finalists: int = 5,
    log: bool = False,
    options: EvolutionOptions | None = None,
    seed: int = 0,
) -> Samplers:
    """AutoDiffusion's evolutionary search (Li et al. 2023, algorithm 1), with the final error for its FID.

    The error is the mean square in what `calibration` shows, of pictures for instance.

    Each budget of S steps takes at most (500 seeds + finalists M) S guided steps, of which some 40 % are saved where
    grids begin alike: 16 seeds, 8 steps and M = 64 are 40,000. The paper's FID of 5,000 pictures would be 20 million.
    Memory: 3 S latents for each seed.

    Args:
        teacher: the calibration seeds' trajectories; their grid's nodes are what is chosen from.
        problem: the same seeds.
        budgets: numbers of steps, in 1..N.
        calibration: where the final errors of `problem` are compared; in latents by default.
        solver: one that has a compiler.
        seeds: how many of the calibration seeds say how fit a grid is.
        finalists: the fittest grids, of which all M calibration seeds choose.
        log: pool by the geometric mean.
        options: the operators' numbers.
        seed: of the draws.

    Raises:
        ValueError: a budget beyond the teacher's grid.
    """
    for budget in budgets:
        if not 1 <= budget <= teacher.nodes_count:
            raise ValueError(f"budget: must be in 1..{teacher.nodes_count} (the grid's intervals), is {budget}")
    fitness = Fitness(teacher, problem, solver, log=log, calibration=calibration)
    found = {}
    for budget in budgets:
        evolution = _Evolution(teacher.sigmas, budget, options or EvolutionOptions(), seed)
        ranked = evolution.run(fitness, seeds)
        found[budget] = fitness.best([teacher.sigmas[list(path)] for path in ranked[:finalists]])
    return found


class _Evolution:
    def __init__(self, sigmas: FloatArray, budget: int, options: EvolutionOptions, seed: int) -> None:
        self._sigmas, self._options = sigmas, options
        self._last, self._inner = len(sigmas) - 1, budget - 1
        self._generator = np.random.default_rng(seed)
        self._known: dict[Path, float] = {}

    def run(self, fitness: Fitness, seeds: int) -> list[Path]:
        """All candidates that ever were, the fittest first."""
        generation = self._first()
        for number in range(self._options.generations):
            if number:
                generation = self._next(self._ranked()[: self._options.parents])
            fresh = [path for path in dict.fromkeys(generation) if path not in self._known]
            errors = fitness([self._sigmas[list(path)] for path in fresh], seeds=seeds)
            self._known.update(zip(fresh, errors, strict=True))
        return self._ranked()

    def _ranked(self) -> list[Path]:
        return sorted(self._known, key=self._known.__getitem__)

    def _first(self) -> list[Path]:
        places = np.linspace(0, self._last, self._inner + 2).round().astype(int)
        uniform = tuple(int(node) for node in places)
        mutants = [self._mutant(uniform, self._options.first_rate) for _ in range(self._options.population // 2)]
        return [uniform, *mutants, *self._random(self._options.population - 1 - len(mutants))]

    def _next(self, parents: Sequence[Path]) -> list[Path]:
        options = self._options
        mutants = [self._mutant(self._one(parents), options.rate) for _ in range(options.mutants)]
        crosses = [self._cross(self._one(parents), self._one(parents)) for _ in range(options.crosses)]
        return [*mutants, *crosses, *self._random(options.population - len(mutants) - len(crosses))]

    def _one(self, parents: Sequence[Path]) -> Path:
        return parents[int(self._generator.integers(len(parents)))]

    def _mutant(self, path: Path, rate: float) -> Path:
        """Each inner node is replaced with a probability."""
        return self._completed(node for node in path[1:-1] if self._generator.random() >= rate)

    def _cross(self, path: Path, other: Path) -> Path:
        """Each inner node from one of two parents."""
        return self._completed(pair[int(self._generator.integers(2))] for pair in zip(path, other, strict=True))

    def _random(self, count: int) -> list[Path]:
        return [self._completed(()) for _ in range(count)]

    def _completed(self, nodes: Iterable[int]) -> Path:
        """A path through these nodes and as many random ones as are missing."""
        kept = set(nodes) - {0, self._last}
        free = sorted(set(range(1, self._last)) - kept)
        drawn = self._generator.permutation(free)[: self._inner - len(kept)]
        return (0, *sorted(kept | {int(node) for node in drawn}), self._last)
