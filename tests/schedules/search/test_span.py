import numpy as np
import pytest
import torch

from schedules.grids import shifted, uniform
from schedules.search.analytic import gaussian_mixture, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.fit import FitOptions, fit_rows
from schedules.search.problem import SearchProblem
from schedules.search.sensitivity import Sensitivity, measure_sensitivity
from schedules.search.span import TeacherSpan, best_grids
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import FloatArray

FLAT = Sensitivity(np.array([1.0, 0.0]), np.array([1.0, 1.0]))


def errors_on_the_path(teacher: Teacher, sigmas: FloatArray) -> FloatArray:
    """Each step from the teacher's own state with least squares on the teacher's own velocities, the long way."""
    nodes = [int(np.abs(teacher.sigmas - sigma).argmin()) for sigma in sigmas]
    errors = []
    for k in range(len(sigmas) - 1):
        columns = [teacher.velocities[nodes[j]] for j in range(k, max(k - 3, -1), -1)] + [teacher.states[nodes[k]]]
        regressors = torch.stack(columns).flatten(1).double().numpy().T
        target = (teacher.states[nodes[k + 1]] - teacher.states[nodes[k]]).flatten().double().numpy()
        found = np.linalg.lstsq(regressors, target, rcond=None)[0]
        errors.append(np.square(target - regressors @ found).mean())
    return np.array(errors)


def test_step_errors_are_those_of_least_squares_on_the_path(calibration_teacher: Teacher) -> None:
    sigmas = calibration_teacher.sigmas[[0, 8, 20, 32, 40, 48]]
    found = TeacherSpan.of(calibration_teacher).step_errors(sigmas, FitOptions(ridge=0.0))
    np.testing.assert_allclose(found, errors_on_the_path(calibration_teacher, sigmas), rtol=1e-3, atol=1e-9)


def test_states_and_velocities_between_nodes_are_the_teachers(calibration_teacher: Teacher) -> None:
    span = TeacherSpan.of(calibration_teacher)
    parts = [calibration_teacher.states[:1], calibration_teacher.states.diff(dim=0), calibration_teacher.velocities]
    basis = torch.cat(parts).flatten(1).double().numpy()
    row = span.states(np.array([0.3337]))[0]
    expected = calibration_teacher.state_at(0.3337).flatten().double().numpy()
    np.testing.assert_allclose(row @ basis, expected, rtol=0, atol=1e-4)
    velocity = span.velocities(calibration_teacher.sigmas[7:8])[0] @ basis
    np.testing.assert_allclose(velocity, calibration_teacher.velocities[7].flatten(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [5, 8])
def test_the_best_grid_costs_less_and_draws_better(
    calibration: SearchProblem, calibration_teacher: Teacher, steps: int
) -> None:
    span, options = TeacherSpan.of(calibration_teacher), FitOptions(ridge=1e-6)
    start = shifted(steps, 5.0)
    grid = span.best_grid(start, FLAT, options)
    assert span.step_errors(grid, options).sum() < 0.5 * span.step_errors(start, options).sum()
    assert (np.diff(grid) < 0).all()
    assert (grid[0], grid[-1]) == (1.0, 0.0)
    drawn = [fit_rows(calibration, calibration_teacher, sigmas, options).final for sigmas in (start, grid)]
    before, after = (pooled_error(x, calibration_teacher.final, log=True) for x in drawn)
    assert after < 0.5 * before


def test_levels_gather_where_errors_grow(calibration_teacher: Teacher) -> None:
    span, options = TeacherSpan.of(calibration_teacher), FitOptions()
    early = Sensitivity(np.array([1.0, 0.0]), np.array([30.0, 0.3]))
    flat, steep = (best_grids(span, [uniform(6)], s, options) for s in (FLAT, early))
    assert steep.mean() > flat.mean() + 0.02


def test_nothing_grows_where_the_velocity_is_the_same_everywhere() -> None:
    problem = SearchProblem(
        torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), lambda x, t, rows: _ramp(x, t)
    )
    teacher = run_teacher(problem, 50)
    found = measure_sensitivity(problem, teacher, levels=(0.9, 0.5))
    np.testing.assert_allclose(found.growth, 1.0, rtol=1e-2)


def _ramp(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return (t / 1000)[:, None].square().expand_as(x)


def test_errors_fade_towards_a_single_picture() -> None:
    # All data in one point: the velocity is x / sigma, and an error at sigma is gone at 0.
    flow = gaussian_mixture(components=1, spread=1e-3)
    problem = mixture_problem(flow, 8)
    found = measure_sensitivity(problem, run_teacher(problem, 50), levels=(0.8, 0.4))
    assert (found.growth[:2] < 0.1).all()


def test_growth_between_levels_is_linear() -> None:
    found = Sensitivity(np.array([1.0, 0.5, 0.0]), np.array([2.0, 4.0, 1.0]))
    np.testing.assert_allclose(found.at(np.array([0.75, 0.25])), [3.0, 2.5])
