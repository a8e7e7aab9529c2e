import diffusers as d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schedules import grids
from schedules.beta_quantile import beta_quantile, incomplete_beta
from schedules.grids import GRIDS, MAX_STEPS, GridError


@pytest.mark.parametrize("name", GRIDS)
@given(steps=st.one_of(st.integers(1, 40), st.just(MAX_STEPS)))
def test_grid_falls_strictly_from_1_to_0(name, steps):
    sigmas = GRIDS[name](steps)
    assert sigmas.shape == (steps + 1,)
    assert sigmas.dtype == np.float64
    assert sigmas[0] == pytest.approx(1.0, abs=1e-15)
    assert sigmas[0] <= 1.0
    assert sigmas[-1] == 0.0
    assert (np.diff(sigmas) < 0).all()


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("steps", [0, -1, MAX_STEPS + 1])
def test_step_count_out_of_range_is_refused(name, steps):
    with pytest.raises(GridError, match=f"steps: must be from 1 to 1000, is {steps}"):
        GRIDS[name](steps)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stock", {}),
        ("karras", {"use_karras_sigmas": True}),
        ("exponential", {"use_exponential_sigmas": True}),
        ("beta", {"use_beta_sigmas": True}),
    ],
)
@pytest.mark.parametrize("steps", [2, 7, 20])
def test_grid_is_that_of_the_stock_flow_scheduler(name, options, steps):
    scheduler = d.FlowMatchEulerDiscreteScheduler(**options)
    scheduler.set_timesteps(steps)
    np.testing.assert_allclose(GRIDS[name](steps), scheduler.sigmas.double().numpy(), atol=1e-7)


@given(steps=st.integers(1, 50), shift=st.floats(0.1, 20))
def test_shifts_undo_each_other(steps, shift):
    there = grids.shifted(steps, shift)
    back = there / (shift - (shift - 1) * there)
    np.testing.assert_allclose(back, grids.uniform(steps), atol=1e-12)


def test_shift_is_that_of_the_stock_flow_scheduler():
    scheduler = d.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=grids.uniform(9)[:-1].tolist())
    np.testing.assert_allclose(grids.shifted(9, 3.0), scheduler.sigmas.double().numpy(), atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grids.shifted(4, 0.0), "shift: must be > 0, is 0.0"),
        (lambda: grids.shifted(4, np.inf), "shift: must be > 0, is inf"),
        (lambda: grids.karras(4, rho=0), "rho: must be > 0"),
        (lambda: grids.karras(4, sigma_min=0.0), "sigma_min, sigma_max: must be 0 < sigma_min < sigma_max <= 1"),
        (lambda: grids.exponential(4, sigma_max=1.5), "sigma_min, sigma_max: must be"),
        (lambda: grids.beta(4, alpha=-1.0), "alpha, beta: must be > 0"),
        (lambda: grids.kl_optimal(4, sigma_min=0.0), "sigma_min, sigma_max: must be 0 < sigma_min < sigma_max <= 1"),
        (lambda: grids.laplace(4, scale=0.0), "location, scale: must be finite, the scale > 0, are 0.0, 0.0"),
        (lambda: grids.laplace(4, sigma_min=2.0), "sigma_min, sigma_max: must be"),
        (lambda: grids.linear_quadratic(4, threshold=0.5), "threshold: must be > 0 and < 1/3, is 0.5"),
    ],
)
def test_bad_parameter_is_refused_by_name(make, message):
    with pytest.raises(GridError, match=message):
        make()


@given(steps=st.integers(2, 50))
def test_kl_optimal_levels_are_equal_angles_of_noise_against_data(steps):
    sigmas = grids.kl_optimal(steps, sigma_min=0.01)[:-1]
    angles = np.arctan2(sigmas, 1 - sigmas)
    assert sigmas[-1] == pytest.approx(0.01)
    np.testing.assert_allclose(np.diff(angles), np.diff(angles)[0], atol=1e-12)


@given(gaps=st.lists(st.floats(0.05, 1), min_size=2, max_size=12))
def test_kl_optimal_is_best_for_euler_on_gaussian_data(gaps):
    def spread(sigmas):  # what is left of unit variance after Euler's steps along v = (sigma - alpha) / variance x
        alpha, gap = 1 - sigmas[:-1], np.diff(sigmas)
        return np.prod(1 + gap * (sigmas[:-1] - alpha) / (alpha**2 + sigmas[:-1] ** 2))

    best = grids.kl_optimal(len(gaps) + 1, sigma_min=0.02)[:-1]
    rival = np.append(1.0, 1.0 - 0.98 * np.cumsum(gaps) / np.sum(gaps))
    exact = np.hypot(0.98, 0.02)
    assert abs(spread(best) - exact) <= abs(spread(rival) - exact) + 1e-12


@given(steps=st.integers(3, 50), location=st.floats(-1, 1), scale=st.floats(0.2, 2))
def test_laplace_levels_are_equal_shares_of_scipys_distribution(steps, location, scale):
    sigmas = grids.laplace(steps, location, scale, sigma_min=0.01)[:-1]
    assert sigmas[-1] == pytest.approx(0.01)
    inner = stats.laplace.cdf(np.log(sigmas[1:] / (1 - sigmas[1:])), location, scale)
    np.testing.assert_allclose(np.diff(inner), inner[0] - 1, atol=1e-9)


@given(steps=st.integers(4, 60), threshold=st.floats(0.01, 0.3))
def test_linear_quadratic_is_a_line_and_then_a_parabola_without_a_kink(steps, threshold):
    sigmas = grids.linear_quadratic(steps, threshold)
    half = steps // 2
    assert sigmas[half] == pytest.approx(1 - threshold)
    bends = np.diff(sigmas, 2)
    np.testing.assert_allclose(bends[: half - 1], 0, atol=1e-12)
    np.testing.assert_allclose(bends[half:], bends[-1], atol=1e-9)
    # the kink's bend is half a parabola's: its slope begins as the line's
    assert bends[half - 1] == pytest.approx(bends[-1] / 2, abs=1e-9)


@given(alpha=st.floats(0.3, 6), beta=st.floats(0.3, 6))
def test_beta_quantiles_are_scipys(alpha, beta):
    probabilities = np.linspace(0, 1, 21)
    ours = beta_quantile(probabilities, alpha, beta)
    np.testing.assert_allclose(ours, stats.beta.ppf(probabilities, alpha, beta), atol=1e-11)


@given(x=st.floats(0, 1), alpha=st.floats(0.3, 6), beta=st.floats(0.3, 6))
def test_incomplete_beta_is_scipys(x, alpha, beta):
    assert incomplete_beta(x, alpha, beta) == pytest.approx(stats.beta.cdf(x, alpha, beta), abs=1e-12)
