from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.method import Samplers
from schedules.search.olss import olss_student, olss_teacher, regress
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import Table

BUDGETS = (4, 7)


@pytest.fixture(scope="module")
def published(calibration: SearchProblem, calibration_teacher: Teacher) -> Samplers:
    return olss_teacher(calibration_teacher, calibration, BUDGETS)


@pytest.fixture(scope="module")
def own(calibration: SearchProblem, calibration_teacher: Teacher) -> Samplers:
    return olss_student(calibration_teacher, calibration, BUDGETS)


def error(problem: SearchProblem, teacher: Teacher, table: Table) -> float:
    return pooled_error(roll_out(problem, table).final, teacher.final)


@pytest.mark.parametrize("steps", BUDGETS)
def test_both_beat_every_stock_solver_on_held_out_seeds(
    published: Samplers, own: Samplers, held_out: SearchProblem, held_out_teacher: Teacher, steps: int
) -> None:
    stock = min(
        error(held_out, held_out_teacher, compile_table(solver, grid, "flow"))
        for solver in ("euler", "dpmpp-2m")
        for grid in (uniform(steps), shifted(steps, 3.0))
    )
    for found in (published, own):
        assert found[steps].table.evaluations_count == steps
        assert error(held_out, held_out_teacher, found[steps].table) < 0.3 * stock


def test_on_the_students_outputs_the_calibration_error_is_less(
    published: Samplers, own: Samplers, calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    on_same_nodes = {4: tuple(int(np.abs(calibration_teacher.sigmas - s).argmin()) for s in published[4].sigmas)}
    student = olss_student(calibration_teacher, calibration, [4], ridge=0, paths=on_same_nodes)[4]
    of_student = error(calibration, calibration_teacher, student.table)
    assert (student.sigmas == published[4].sigmas).all()
    assert of_student < error(calibration, calibration_teacher, published[4].table)


def test_a_row_is_the_least_squares_fit_of_the_trajectories(small_teacher: Teacher, flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 8)
    found = olss_teacher(small_teacher, problem, [3])[3]
    nodes = [int(np.abs(small_teacher.sigmas - sigma).argmin()) for sigma in found.sigmas]
    columns = np.array([problem.noise.numpy(), *small_teacher.velocities[nodes[:-1]].numpy()], dtype=np.float64)
    for k in range(3):
        outputs = columns[: k + 2].reshape(k + 2, -1).T
        target = small_teacher.states[nodes[k + 1]].numpy().astype(np.float64).ravel()
        expected = np.linalg.lstsq(outputs, target, rcond=None)[0]
        np.testing.assert_allclose(found.table.X[k + 1, : k + 2], expected, atol=1e-9)


def test_the_nodes_have_the_least_largest_error_of_all(small_teacher: Teacher, flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 8)
    best = min(_largest_error(small_teacher, problem, (0, *inner, 12)) for inner in combinations(range(1, 12), 2))
    found = olss_teacher(small_teacher, problem, [3])[3]
    nodes = tuple(int(np.abs(small_teacher.sigmas - sigma).argmin()) for sigma in found.sigmas)
    # Going as far as the bound allows is not always best, since the nodes passed over would have helped later.
    assert _largest_error(small_teacher, problem, nodes) < 1.2 * best


def _largest_error(teacher: Teacher, problem: SearchProblem, nodes: tuple[int, ...]) -> float:
    history = np.array([problem.noise.numpy(), *teacher.velocities[list(nodes[:-1])].numpy()]).reshape(len(nodes), -1).T
    errors = []
    for k, node in enumerate(nodes[1:]):
        target = teacher.states[node].numpy().ravel()
        weights = np.linalg.lstsq(history[:, : k + 2], target, rcond=None)[0]
        errors.append(float(np.linalg.norm(history[:, : k + 2] @ weights - target)))
    return max(errors)


def test_a_strong_ridge_gives_adams_and_bashforth(small_teacher: Teacher, flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 8)
    for method in (olss_teacher, olss_student):
        found = method(small_teacher, problem, [5], ridge=1e12)[5]
        adams = compile_table("ab2", found.sigmas, "flow")
        assert found.table.difference(adams, tolerance=1e-6) is None


def test_the_fit_does_not_care_for_the_order_or_chunks_of_seeds(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 40)
    turned = replace(problem, noise=problem.noise.flip(0))
    rows = [olss_teacher(run_teacher(p, 12), p, [4])[4].table.X for p in (problem, turned)]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


def test_regress_finds_what_mixed_the_target() -> None:
    outputs = np.random.default_rng(0).normal(size=(50, 3))
    weights = np.array([0.5, -1.0, 2.0])
    np.testing.assert_allclose(regress(outputs, outputs @ weights, np.zeros(3), 0.0), weights)


@pytest.mark.parametrize("budget", [0, 49])
def test_a_budget_beyond_the_grid_is_refused(
    calibration: SearchProblem, calibration_teacher: Teacher, budget: int
) -> None:
    with pytest.raises(ValueError, match=r"must be in 1\.\.48"):
        olss_teacher(calibration_teacher, calibration, [budget])
