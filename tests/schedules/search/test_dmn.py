import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import lagrange

from schedules.search.dmn import Bound, dmn, optimised, sigmas_of, step_weights
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher

ENDS = (-4.6, 4.6)


@given(st.lists(st.floats(0.3, 2), min_size=1, max_size=3), st.floats(0.2, 3), st.floats(-3, 2))
def test_weights_integrate_the_interpolating_polynomial_against_the_exponential(
    gaps: list[float], step: float, start: float
) -> None:
    past = start - np.append(np.cumsum(gaps[1:])[::-1], 0.0)
    weights = step_weights(np.append(past, start + step)[None])[0]
    for m, weight in enumerate(weights):
        polynomial = lagrange(past - start, np.eye(len(past))[m])
        integral = quad(lambda t, p=polynomial: np.exp(t + start) * p(t), 0, step)[0]
        assert weight == pytest.approx(integral, rel=1e-6, abs=1e-9)


@given(st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_weights_of_a_constant_image_sum_to_its_integral_and_at_order_1_bound_each_step(
    steps: int, order: int, cautious: bool
) -> None:
    """A constant clean image is integrated exactly, so that signed weights sum to e^last - e^first."""
    nodes = np.linspace(-2, 2, steps + 1)
    total = 0.0
    for k in range(steps):
        past = min(order, k + 1, steps - k)
        total += step_weights(nodes[None, k + 1 - past : k + 2]).sum()
    assert total == pytest.approx(np.exp(2) - np.exp(-2), rel=1e-9)
    if order == 1:  # nothing cancels, so that the bound is the sum over single steps
        errors = sigmas_of(nodes[:-1]) ** 2 / (1 - sigmas_of(nodes[:-1]))
        expected = (np.diff(np.exp(nodes)) * errors).sum()
        assert Bound(order=1, cautious=cautious)(nodes[None])[0] == pytest.approx(expected)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_two_steps_are_where_a_scan_finds_the_least_bound(power: float) -> None:
    inner = np.linspace(ENDS[0] + 0.01, ENDS[1] - 0.01, 20_001)
    scanned = Bound(power)(np.stack([np.full_like(inner, ENDS[0]), inner, np.full_like(inner, ENDS[1])], axis=1))
    found = optimised(2, ENDS, Bound(power))
    assert found[1] == pytest.approx(inner[scanned.argmin()], abs=2e-3)


@pytest.mark.parametrize("steps", [4, 7, 10])
def test_no_small_move_lowers_the_bound(steps: int) -> None:
    bound = Bound()
    found = optimised(steps, ENDS, bound)
    moves = np.random.default_rng(0).normal(size=(400, steps - 1)) * 0.02
    tried = np.concatenate([np.tile(found[:1], (400, 1)), found[1:-1] + moves, np.tile(found[-1:], (400, 1))], axis=1)
    assert bound(tried).min() > 0.999 * bound(found[None])[0]
    even = np.linspace(*ENDS, steps + 1)
    assert bound(found[None])[0] < 0.8 * bound(even[None])[0]


def test_order_1_with_pixels_errors_is_symmetric_about_equal_noise_and_data() -> None:
    """The two ends then mirror each other: e^lambda grows as e^-lambda, the error, falls."""
    found = optimised(8, ENDS, Bound(power=1.0, order=1))
    np.testing.assert_allclose(found, -found[::-1], atol=0.02)


def test_it_never_asks_the_network(small_teacher: Teacher, calibration: SearchProblem) -> None:
    def silent(*_: object) -> None:
        raise AssertionError

    problem = SearchProblem(calibration.noise, silent)  # type: ignore[arg-type]
    assert dmn(small_teacher, problem, (3,))[3].sigmas.shape == (4,)


def test_bad_switches_are_refused(small_teacher: Teacher, calibration: SearchProblem) -> None:
    with pytest.raises(ValueError, match="order: must be 1, 2 or 3, is 4"):
        dmn(small_teacher, calibration, (4,), order=4)
    with pytest.raises(ValueError, match="sigma_min, sigma_max: must be 0 < sigma_min < sigma_max < 1"):
        dmn(small_teacher, calibration, (4,), sigma_max=1.0)
