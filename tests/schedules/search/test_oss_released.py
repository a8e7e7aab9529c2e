from itertools import pairwise
from math import inf
from statistics import median_high, median_low

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.grids import uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.oss import euler_rollout
from schedules.search.oss_released import oss_per_seed, oss_released, roll_out_per_seed
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher

STEPS = 5


def as_published(teacher: Teacher, problem: SearchProblem, steps: int, *, free_start: bool) -> list[int]:
    """The algorithm for one seed, line by line in its own indices: 0 is the clean image, N the noise."""
    last = teacher.nodes_count
    sigmas, states = teacher.sigmas[::-1], teacher.states.flip(0)
    best, parents = [inf] * (last + 1), [last] * (last + 1)
    held: list[Tensor] = [problem.noise] * (last + 1)
    traces = []
    for number in range(steps):
        after = list(held)
        for i in range(last, 0, -1):
            if number == 0 and i < last and not free_start:
                continue
            v = problem.velocity(held[i], float(sigmas[i]))
            for j in range(i - 1, -1, -1):
                state = held[i] + float(sigmas[j] - sigmas[i]) * v
                cost = float((state - states[j]).square().mean())
                if cost < best[j]:
                    best[j], parents[j], after[j] = cost, i, state
        held = after
        traces.append(list(parents))
    node, nodes = 0, [0]
    for trace in reversed(traces):
        node = trace[node]
        nodes.append(node)
    return [last - node for node in reversed(nodes)]


@pytest.mark.parametrize("free_start", [True, False])
def test_equal_to_the_published_loop_seed_by_seed(flow: MixtureFlow, free_start: bool) -> None:
    problem = mixture_problem(flow, 4)
    teacher = run_teacher(problem, 16)
    found = oss_per_seed(teacher, problem, [3], free_start=free_start)[3]
    for seed, path in enumerate(found):
        single = mixture_problem(flow, 1, seed_offset=seed)
        assert list(path) == as_published(run_teacher(single, 16), single, 3, free_start=free_start)


def test_the_median_is_that_of_each_position(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 6)
    teacher = run_teacher(problem, 24)
    paths = oss_per_seed(teacher, problem, [STEPS])[STEPS]
    sigmas = oss_released(teacher, problem, [STEPS])[STEPS].sigmas
    nodes = [round((1 - sigma) * 24) for sigma in sigmas]
    for node, place in zip(nodes, zip(*paths, strict=True), strict=True):
        assert median_low(place) <= node <= median_high(place)


def test_only_the_first_seeds_count(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 8)
    teacher = run_teacher(problem, 24)
    few = oss_released(teacher, problem, [3], seeds=4)[3].sigmas
    assert (few == oss_released(teacher.take(4), problem.take(4), [3])[3].sigmas).all()


def test_a_seeds_own_path_beats_the_median_which_beats_the_uniform_grid(
    flow: MixtureFlow, calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    problem = mixture_problem(flow, 64, seed_offset=10_000)
    teacher = run_teacher(problem, 96, nodes=24)
    paths = oss_per_seed(teacher, problem, [STEPS])[STEPS]
    levels = np.array([teacher.sigmas[list(path)] for path in paths])
    own = pooled_error(roll_out_per_seed(problem, levels), teacher.final)
    median_table = oss_released(calibration_teacher, calibration, [STEPS], seeds=16)[STEPS].table
    of_median = pooled_error(roll_out(problem, median_table).final, teacher.final)
    assert own < of_median < pooled_error(euler_rollout(problem, uniform(STEPS)), teacher.final)


def test_a_rollout_with_equal_levels_is_eulers(calibration: SearchProblem) -> None:
    small = calibration.take(3)
    levels = np.tile(uniform(4), (3, 1))
    torch.testing.assert_close(roll_out_per_seed(small, levels), euler_rollout(small, uniform(4)))


def test_paths_rise_and_have_their_number_of_steps(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 5)
    for budget, paths in oss_per_seed(run_teacher(problem, 16), problem, [1, 4, 16]).items():
        for path in paths:
            assert len(path) == budget + 1
            assert all(a < b for a, b in pairwise(path))


def test_a_budget_beyond_the_grid_is_refused(small_teacher: Teacher, flow: MixtureFlow) -> None:
    with pytest.raises(ValueError, match=r"must be in 1\.\.12"):
        oss_released(small_teacher, mixture_problem(flow, 8), [13])
