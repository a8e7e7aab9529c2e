"""The sampler of consistency models: one draw at each step, and the stock scheduler's numbers."""

import diffusers as d
import numpy as np
import pytest

from schedules.compile import SAMPLERS, SOLVERS, CompileError, compile_from_image, compile_table
from schedules.grid_names import find_grid
from schedules.grids import GridError
from schedules.noise import FLOW, vp
from schedules.probe import probe

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def stock(prediction="epsilon"):
    scheduler = d.LCMScheduler(prediction_type=prediction, **LATENT)
    return scheduler, vp(scheduler.alphas_cumprod.double().numpy())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 13, 50])
def test_the_table_is_the_stock_schedulers(prediction, steps):
    scheduler, noise = stock(prediction)
    theirs, ours = probe(scheduler, steps), compile_table("lcm", find_grid("lcm", noise)(steps), prediction, noise)
    assert ours.base == theirs.base == ("noise", *("draw",) * (steps - 1))
    np.testing.assert_allclose(ours.t, theirs.t, atol=1e-9)
    # The stock state has unit variance, ours is x0 + sigma n: what the network is given is the same.
    np.testing.assert_allclose(ours.c[:, None] * ours.X[:-1], theirs.X[:-1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.X[-1], theirs.X[-1], rtol=1e-6, atol=1e-6)


def test_a_picture_enters_with_noise_and_the_draws_stay():
    _, noise = stock()
    sigmas = find_grid("lcm", noise)(4)[1:]
    plain, entered = (make("lcm", sigmas, "epsilon", noise) for make in (compile_table, compile_from_image))
    assert entered.base == ("noise", "image", "draw", "draw")
    np.testing.assert_allclose(entered.X[0, :2], [sigmas[0], 1.0])
    np.testing.assert_array_equal(entered.X[:, 2:], plain.X[:, 1:])


def test_its_times_are_found_by_name_among_at_most_50():
    _, noise = stock()
    grid = find_grid("lcm", noise)
    for steps in (1, 7, 50, 51, 1000):
        sigmas = grid(steps)
        assert sigmas.shape == (steps + 1,)
        assert (np.diff(sigmas) < 0).all()
    np.testing.assert_array_equal(grid(51), find_grid("trailing", noise)(51))
    assert find_grid("lcm", FLOW) is None
    for steps in (0, 1001):
        with pytest.raises(GridError, match="steps: must be from 1 to 1000"):
            grid(steps)


def test_a_flow_begins_anew_at_each_step():
    table = compile_table("lcm", np.array([1.0, 0.6, 0.0]), "flow", FLOW)
    np.testing.assert_allclose(table.X, [[1, 0, 0, 0], [0.4, 0.6, -0.4, 0], [0.4, 0.6, -0.4, -0.6]])


def test_it_keeps_no_part_of_a_picture_and_is_searched_by_nobody():
    with pytest.raises(CompileError, match="'lcm' draws noise at each step, and keeps no part of a picture"):
        compile_from_image("lcm", np.array([1.0, 0.5, 0.0]), "flow", masked=True)
    assert set(SAMPLERS) - set(SOLVERS) == {"lcm"}
