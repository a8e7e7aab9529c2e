import diffusers as d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.grid_names import find_grid, grid_names
from schedules.grids import GRIDS, GridError, shifted
from schedules.noise import FLOW, vp, vp_of_betas
from schedules.vp_grids import VP_GRIDS

BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
NOISE = vp_of_betas("scaled_linear", **BETAS)


@pytest.mark.parametrize("name", VP_GRIDS)
@given(steps=st.one_of(st.integers(1, 40), st.just(1000)))
def test_grid_falls_strictly_from_the_largest_sigma_to_0(name, steps):
    sigmas = VP_GRIDS[name](steps, NOISE)
    assert sigmas.shape == (steps + 1,)
    assert sigmas.dtype == np.float64
    assert sigmas[0] == pytest.approx(NOISE.sigma_max)
    assert sigmas[-1] == 0.0
    assert (np.diff(sigmas) < 0).all()


@pytest.mark.parametrize("name", VP_GRIDS)
@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_step_count_out_of_range_is_refused(name, steps):
    with pytest.raises(GridError, match=f"steps: must be from 1 to 1000, is {steps}"):
        VP_GRIDS[name](steps, NOISE)


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("karras", {"use_karras_sigmas": True}),
        ("exponential", {"use_exponential_sigmas": True}),
        ("trailing", {"timestep_spacing": "trailing"}),
        ("linspace", {"timestep_spacing": "linspace"}),
    ],
)
def test_grids_are_the_stock_ones(name, options):
    scheduler = d.EulerDiscreteScheduler(beta_schedule="scaled_linear", **BETAS, **options)
    noise = vp(scheduler.alphas_cumprod.double().numpy())
    for steps in (
        2,
        4,
        10,
        28,
    ):  # equal steps from 999 to 0 are whole: between whole times stock Euler is linear in sigma
        scheduler.set_timesteps(steps)
        wanted = scheduler.sigmas.double().numpy()
        got = VP_GRIDS[name](steps, noise)
        np.testing.assert_allclose(got, wanted, rtol=2e-5)


def test_sigma_and_time_undo_each_other():
    times = np.linspace(0, 999, 50)
    np.testing.assert_allclose(NOISE.time(NOISE.sigma(times)), times, atol=1e-9)


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
def test_zero_terminal_snr_is_the_stock_rescaling():
    scheduler = d.EulerDiscreteScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True, **BETAS)
    stock = vp(scheduler.alphas_cumprod.double().numpy())
    own = vp_of_betas("scaled_linear", **BETAS, zero_terminal_snr=True)
    assert own.sigma_max == pytest.approx(4096, rel=1e-4)
    np.testing.assert_allclose(own.log_sigmas, stock.log_sigmas, atol=2e-3)  # stock sums up in float32


def test_a_grid_is_found_by_its_name_and_the_noise():
    assert grid_names(FLOW) == tuple(GRIDS)
    assert grid_names(NOISE) == tuple(VP_GRIDS)
    for noise, steps in ((FLOW, 5), (NOISE, 5)):
        for name in grid_names(noise):
            assert find_grid(name, noise)(steps).shape == (6,)
    np.testing.assert_array_equal(find_grid("shift3.25", FLOW)(4), shifted(4, 3.25))
    wrong = [("uniform", NOISE), ("shift3", NOISE), ("trailing", FLOW), ("shift0", FLOW), ("shift-2", FLOW)]
    assert [find_grid(name, noise) for name, noise in wrong] == [None] * 5
