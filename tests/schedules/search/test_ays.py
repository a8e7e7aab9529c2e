import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules.grids import kl_optimal
from schedules.search import ays as module
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.ays import ays, candidate_levels, clean_distances, coordinate_search, klub_costs, schedules
from schedules.search.problem import SearchProblem
from schedules.search.shortest_path import Path, shortest_paths
from schedules.search.teacher import Teacher
from schedules.table import FloatArray

LEVELS = candidate_levels(60, 0.02)


def gaussian_distances(levels: FloatArray, variance: float = 1.0) -> FloatArray:
    """E |D_i - D_j|^2 per element for Gaussian data: the clean images form a martingale, so their variances differ."""
    noise = np.divide(levels, 1 - levels, out=np.full_like(levels, np.inf), where=levels < 1) ** 2
    variances = variance**2 / (variance + noise)
    return np.abs(variances[:, None] - variances)


def total(costs: FloatArray, path: Path) -> float:
    return float(costs[list(path[:-1]), list(path[1:])].sum())


def test_distances_are_those_of_the_closed_form_for_gaussian_data() -> None:
    flow = MixtureFlow(torch.zeros(1, 16, dtype=torch.float64), 0.7, torch.zeros(1, dtype=torch.float64))
    problem = mixture_problem(flow, 500)
    pictures = 0.7 * torch.randn(500, 16, generator=torch.Generator().manual_seed(5))
    levels = candidate_levels(8, 0.05)
    found = clean_distances(pictures, problem, levels) / 16
    np.testing.assert_allclose(found, gaussian_distances(levels, 0.49), atol=0.02)
    assert found[0, -1] == pytest.approx(gaussian_distances(levels, 0.49)[0, -1], rel=0.05)


def test_gaussian_data_of_unit_variance_have_levels_even_in_log_1_plus_snr() -> None:
    """Then D's variance is snr / (1 + snr), and the bound is stationary where (1 + snr) grows by a constant factor."""
    levels = candidate_levels(600, 0.02)
    costs = klub_costs(levels, gaussian_distances(levels))
    found = levels[list(schedules(costs, (10,))[10])]
    ratios = np.expm1(np.linspace(0, np.log1p((0.98 / 0.02) ** 2), 11))
    np.testing.assert_allclose(found, 1 / (1 + np.sqrt(ratios)), atol=0.01)


def test_cost_of_an_interval_is_its_integral() -> None:
    costs = klub_costs(LEVELS, gaussian_distances(LEVELS))
    snr = ((1 - LEVELS) / LEVELS) ** 2
    fine = np.linspace(snr[20], snr[50], 100_001)
    variances = 1 / (1 + 1 / fine)
    integral = 0.5 * np.trapezoid(variances - variances[0], fine)
    assert costs[20, 50] == pytest.approx(integral, rel=0.01)
    assert costs[20, 50] > costs[20, 35] + costs[35, 50]


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_search_ends_where_no_single_move_helps_and_never_rises(seed: int, steps: int) -> None:
    costs = np.random.default_rng(seed).random((12, 12))
    start = (*np.sort(np.random.default_rng(seed).choice(11, steps, replace=False)).tolist(), 11)
    found = coordinate_search(costs, start)
    assert (found[0], found[-1], len(found)) == (start[0], 11, steps + 1)
    assert total(costs, found) <= total(costs, start)
    for k in range(1, steps):
        for node in range(found[k - 1] + 1, found[k + 1]):
            assert total(costs, (*found[:k], node, *found[k + 1 :])) >= total(costs, found) - 1e-12


def test_coordinate_search_comes_near_the_true_optimum() -> None:
    costs = klub_costs(LEVELS, gaussian_distances(LEVELS))
    for steps, path in schedules(costs, (5, 10, 20)).items():
        assert total(costs, path) < 1.02 * shortest_paths(costs, steps)[-1].cost


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4, unique=True))
def test_every_budget_up_to_the_grid_has_a_path(budgets: list[int]) -> None:
    costs = klub_costs(LEVELS, gaussian_distances(LEVELS))
    for steps, path in schedules(costs, budgets).items():
        assert len(path) == steps + 1
        assert (path[0], path[-1]) == (0, 60)
        assert (np.diff(path) > 0).all()


def test_subdivision_halves_every_step() -> None:
    assert module.subdivided((0, 4, 10), 10) == (0, 2, 4, 7, 10)
    assert module.subdivided((0, 1, 10), 10) in {(0, 1, 2, 6, 10), (0, 1, 2, 5, 10)}
    assert module.restretched((0, 4, 10), 4) == (0, 2, 4, 7, 10)


def test_bound_on_unseen_seeds_is_lower_than_that_of_common_grids(
    calibration: SearchProblem, calibration_teacher: Teacher, held_out: SearchProblem, held_out_teacher: Teacher
) -> None:
    levels = candidate_levels(80, 0.02)
    costs = klub_costs(levels, clean_distances(held_out_teacher.final, held_out, levels, seed=1))

    def bound(sigmas: FloatArray) -> float:
        inner = [int(np.abs(levels - sigma).argmin()) for sigma in sigmas[1:-1]]
        return total(costs, (0, *sorted(set(inner) - {0, 80}), 80))

    found = ays(calibration_teacher, calibration, (6, 10))
    for steps in (6, 10):
        even = np.append(levels[np.linspace(0, 80, steps + 1).round().astype(int)[:-1]], 0.0)
        rivals = [np.linspace(1, 0, steps + 1), even, np.append(kl_optimal(steps + 1, sigma_min=0.02)[:-2], 0.0)]
        assert all(bound(found[steps].sigmas) < 0.95 * bound(rival) for rival in rivals)


def test_bad_switches_are_refused(small_teacher: Teacher, calibration: SearchProblem) -> None:
    with pytest.raises(ValueError, match=r"budgets: must be in 1\.\.80"):
        ays(small_teacher, calibration, (81,))
    with pytest.raises(ValueError, match="nodes, sigma_min: must be at least 2"):
        ays(small_teacher, calibration, (4,), sigma_min=0.7)
