import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules.grids import shifted, uniform
from schedules.search.analytic import mixture_problem
from schedules.search.curvature import curvature, density_quantiles, rate_density
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher


def turning(power: float, *, nodes: int = 400) -> Teacher:
    """Two seeds whose velocities change like sigma^power, in directions of their own."""
    sigmas = uniform(nodes)
    along = torch.tensor(sigmas[:-1] ** power, dtype=torch.float32)
    velocities = along[:, None, None] * torch.tensor([[3.0, 4.0], [-6.0, 8.0]])
    return Teacher(sigmas, torch.zeros(nodes + 1, 2, 2), velocities, nodes)


@pytest.mark.parametrize("gamma", [0.5, 1.0])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_quantiles_are_those_of_the_closed_form(power: float, gamma: float, calibration: SearchProblem) -> None:
    teacher = turning(power)  # |dv/dsigma| ~ sigma^(power - 1): the share above s is 1 - s^(1 + gamma (power - 1))
    found = curvature(teacher, calibration, (6,), gamma=gamma, smoothing=0.0)[6]
    expected = (1 - np.arange(7) / 6) ** (1 / (1 + gamma * (power - 1)))
    np.testing.assert_allclose(found.sigmas, expected, atol=5e-3)


@given(st.floats(0.1, 1000), st.floats(0, 2))
def test_scale_of_the_velocity_does_not_matter(scale: float, gamma: float) -> None:
    teacher = turning(2.5, nodes=40)
    scaled = Teacher(teacher.sigmas, teacher.states, scale * teacher.velocities, teacher.steps)
    grids = [density_quantiles(t.sigmas, rate_density(t, gamma=gamma), 5) for t in (teacher, scaled)]
    np.testing.assert_allclose(grids[0], grids[1], atol=1e-5)


def test_no_change_or_no_exponent_is_the_uniform_grid(calibration: SearchProblem) -> None:
    for teacher, gamma in ((turning(0.0), 0.5), (turning(3.0), 0.0)):
        np.testing.assert_allclose(curvature(teacher, calibration, (7,), gamma=gamma)[7].sigmas, uniform(7), atol=1e-6)


@given(st.integers(1, 30))
def test_equal_shares_lie_between_levels(steps: int) -> None:
    sigmas = shifted(50, 3.0)
    density = 1 + sigmas[1:] ** 2
    levels = density_quantiles(sigmas, density, steps)
    shares = np.interp(-levels, -sigmas, np.append(0, np.cumsum(density * -np.diff(sigmas))))
    np.testing.assert_allclose(np.diff(shares), shares[-1] / steps, atol=1e-9)


def test_smoothing_evens_a_jump_out_and_keeps_a_constant(calibration_teacher: Teacher) -> None:
    rough, smooth = (rate_density(calibration_teacher, smoothing=width) for width in (0.0, 0.05))
    assert np.abs(np.diff(smooth)).sum() < np.abs(np.diff(rough)).sum()
    np.testing.assert_allclose(rate_density(turning(1.0), smoothing=0.1), rate_density(turning(1.0)), rtol=1e-3)


def test_bad_switches_are_refused(flow, small_teacher: Teacher) -> None:
    problem = mixture_problem(flow, 8)
    with pytest.raises(ValueError, match="gamma, smoothing: must be >= 0"):
        curvature(small_teacher, problem, (4,), gamma=-1)
    with pytest.raises(ValueError, match="needs at least 2 nodes"):
        curvature(Teacher(uniform(1), torch.zeros(2, 1, 1), torch.zeros(1, 1, 1), 1), problem, (4,))
