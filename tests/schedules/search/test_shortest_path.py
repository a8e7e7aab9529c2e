from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.search.boss import boss_paths, edge_costs
from schedules.search.shortest_path import shortest_paths
from schedules.search.teacher import Teacher
from schedules.table import FloatArray


def brute_force(costs: FloatArray, edges: int) -> float:
    last = len(costs) - 1
    paths = ((0, *inner, last) for inner in combinations(range(1, last), edges - 1))
    return min(float(sum(costs[a, b] for a, b in pairwise(path))) for path in paths)


@given(st.integers(0, 2**32), st.integers(3, 9))
def test_shortest_paths_equal_brute_force_for_every_number_of_edges(seed: int, count: int) -> None:
    costs = np.random.default_rng(seed).random((count, count))
    for edges, path in enumerate(shortest_paths(costs, count - 1), start=1):
        assert len(path.nodes) == edges + 1
        assert path.nodes[0] == 0
        assert path.nodes[-1] == count - 1
        assert path.cost == pytest.approx(brute_force(costs, edges))


def test_boss_equals_brute_force_on_the_mixture(small_teacher: Teacher) -> None:
    costs = edge_costs(small_teacher)
    for budget, path in enumerate(boss_paths(small_teacher, 5), start=1):
        assert path.cost == pytest.approx(brute_force(costs, budget))


def test_boss_finds_the_whole_grid_for_free(small_teacher: Teacher) -> None:
    path = boss_paths(small_teacher, small_teacher.nodes_count)[-1]
    assert path.nodes == tuple(range(small_teacher.nodes_count + 1))
    assert path.cost == pytest.approx(0.0, abs=1e-10)


def test_boss_edge_is_the_error_of_one_step_from_the_teachers_state(small_teacher: Teacher) -> None:
    landed = small_teacher.states[2] - 0.25 * small_teacher.velocities[2]
    error = float((landed - small_teacher.states[5]).square().mean())
    assert edge_costs(small_teacher)[2, 5] == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("edges", [0, 4])
def test_impossible_budget_is_refused(edges: int) -> None:
    with pytest.raises(ValueError, match=r"must be in 1\.\.3"):
        shortest_paths(np.ones((4, 4)), edges)


def test_costs_that_are_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        shortest_paths(np.ones((4, 3)), 1)
