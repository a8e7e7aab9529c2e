import diffusers as d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.noise import FLOW, NoiseError, vp, vp_of_betas

LATENT = vp_of_betas("scaled_linear", 0.00085, 0.012)


def test_flow():
    sigmas = np.array([1.0, 0.25, 0.0])
    np.testing.assert_array_equal(FLOW.time(sigmas), [1000, 250, 0])
    np.testing.assert_array_equal(FLOW.alpha(sigmas), [0, 0.75, 1])
    np.testing.assert_array_equal(FLOW.input_scale(sigmas), [1, 1, 1])
    np.testing.assert_allclose(FLOW.log_snr(sigmas), [np.log(1e-6), np.log(3), np.inf])


def test_variance_preserving_in_variance_exploding_coordinates():
    sigmas = np.array([3.0, 0.75, 0.0])
    np.testing.assert_array_equal(LATENT.alpha(sigmas), [1, 1, 1])
    np.testing.assert_allclose(LATENT.input_scale(sigmas), [10**-0.5, 0.8, 1])
    np.testing.assert_allclose(LATENT.log_snr(sigmas), [-np.log(3), -np.log(0.75), np.inf])
    assert LATENT.sigma_max == pytest.approx(14.6146, abs=1e-3)


@given(time=st.integers(0, 999))
def test_training_times_come_back(time):
    sigma = np.exp(LATENT.log_sigmas[time])
    assert LATENT.time(np.array([sigma]))[0] == pytest.approx(time, abs=1e-6)


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
def test_times_between_are_the_stock_euler_schedulers():
    scheduler = d.EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    sigmas = [14.0, 7.7, 1.3, 0.4, 0.05, 0.0]
    scheduler.set_timesteps(sigmas=sigmas)
    times = vp(scheduler.alphas_cumprod.double().numpy()).time(np.array(sigmas[:-1]))
    np.testing.assert_allclose(times, scheduler.timesteps.numpy(), atol=1e-3)


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
def test_betas_are_the_stock_ones(kind):
    scheduler = d.DDIMScheduler(beta_schedule=kind, beta_start=0.0001, beta_end=0.02)
    stock = vp(scheduler.alphas_cumprod.double().numpy())
    np.testing.assert_allclose(vp_of_betas(kind, 0.0001, 0.02).log_sigmas, stock.log_sigmas, atol=1e-4)


def test_below_the_least_sigma_the_time_is_0():
    np.testing.assert_array_equal(LATENT.time(np.array([1e-4, 0.0])), [0, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vp(np.ones((2, 2))), r"alphas_cumprod: must have shape \(T,\)"),
        (lambda: vp(np.array([0.9, 0.95])), "alphas_cumprod: must fall strictly inside"),
        (lambda: vp(np.array([0.9, 0.0])), "alphas_cumprod: must fall strictly inside"),
        (lambda: vp(np.array([0.9, np.nan])), "alphas_cumprod: must fall strictly inside"),
        (lambda: vp_of_betas("linear", 0.02, 0.01), "beta_start, beta_end: must be 0 < start <= end < 1"),
        (lambda: FLOW.time(np.array([1.01])), "sigmas: must be from 0 to 1, has 1.01"),
        (lambda: FLOW.time(np.array([-0.1])), "sigmas: must be from 0 to 1, has -0.1"),
        (lambda: LATENT.time(np.array([np.nan])), "sigmas: must be from 0 to"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(NoiseError, match=message):
        make()
