from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from schedules.search.gits import deviation_costs, gits
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import shortest_paths
from schedules.search.teacher import Teacher


def distance(point: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """From a line, by the area of a parallelogram."""
    a, b = point - first, last - first
    area = (a.square().sum(1) * b.square().sum(1) - (a * b).sum(1).square()).clamp_min(0).sqrt()
    return area / b.norm(dim=1)


@pytest.mark.parametrize(("i", "j"), [(0, 4), (2, 3), (3, 9), (5, 12)])
def test_cost_is_the_step_ends_distance_from_the_chord_beyond_the_teachers(
    small_teacher: Teacher, i: int, j: int
) -> None:
    states = small_teacher.states.double()
    gap = float(small_teacher.sigmas[j] - small_teacher.sigmas[i])
    landed = states[i] + gap * small_teacher.velocities[i].double()
    beyond = distance(landed, states[0], states[-1]) - distance(states[j], states[0], states[-1])
    assert deviation_costs(small_teacher)[i, j] == pytest.approx(float(beyond.mean()), abs=1e-6)


def test_teachers_own_steps_cost_nothing(small_teacher: Teacher) -> None:
    costs = deviation_costs(small_teacher)
    np.testing.assert_allclose(np.diag(costs, 1), 0, atol=1e-5)
    assert np.isinf(costs[np.tril_indices(len(costs))]).all()


@pytest.mark.parametrize("coefficient", [0.8, 1.0, 1.15, 1.5])
def test_path_is_the_best_of_all_under_its_discount(
    small_teacher: Teacher, calibration: SearchProblem, coefficient: float
) -> None:
    costs = deviation_costs(small_teacher)

    def total(path: tuple[int, ...]) -> float:
        return sum(coefficient**k * costs[edge] for k, edge in enumerate(pairwise(path)))

    found = gits(small_teacher, calibration, (2, 3, 5), coefficient=coefficient)
    for steps, sampler in found.items():
        nodes = tuple(np.rint(12 * (1 - sampler.sigmas)).astype(int).tolist())
        brute = min(total((0, *inner, 12)) for inner in combinations(range(1, 12), steps - 1))
        assert total(nodes) == pytest.approx(brute)
        assert shortest_paths(costs, steps, discount=coefficient)[-1].cost == pytest.approx(brute)


def test_larger_coefficient_never_makes_the_last_step_longer(
    calibration_teacher: Teacher, calibration: SearchProblem
) -> None:
    last = [gits(calibration_teacher, calibration, (5,), coefficient=c)[5].sigmas[-2] for c in (0.8, 1.0, 1.2, 1.5)]
    assert last == sorted(last, reverse=True)
    assert last[0] > last[-1]


@pytest.mark.parametrize("coefficient", [0.0, -1.0, np.inf])
def test_impossible_coefficient_is_refused(
    small_teacher: Teacher, calibration: SearchProblem, coefficient: float
) -> None:
    with pytest.raises(ValueError, match="discount: must be > 0"):
        gits(small_teacher, calibration, (3,), coefficient=coefficient)
