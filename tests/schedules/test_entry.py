"""A picture enters a schedule at a noise level."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.entry import enter, entry_sigma
from schedules.grid_names import find_grid, grid_names
from schedules.grids import GridError
from schedules.noise import FLOW, NoiseSchedule, vp_of_betas

LATENT = vp_of_betas("scaled_linear", 0.00085, 0.012)
GRIDS = [(name, noise) for noise in (FLOW, LATENT) for name in grid_names(noise)] + [("shift3.5", FLOW)]


@given(st.sampled_from(GRIDS), st.integers(1, 60), st.floats(1e-4, 1.0))
def test_every_grid_falls_strictly_from_the_entry_to_0(
    grid: tuple[str, NoiseSchedule], steps: int, strength: float
) -> None:
    name, noise = grid
    start = entry_sigma(strength, noise)
    levels = enter(name, steps, start, noise)
    assert levels.shape == (steps + 1,)
    assert levels[0] == pytest.approx(min(start, noise.sigma_max), rel=1e-9)
    assert levels[-1] == 0
    assert (np.diff(levels) < 0).all()


@pytest.mark.parametrize(("name", "noise"), GRIDS)
def test_full_strength_is_the_grid_itself(name: str, noise: NoiseSchedule) -> None:
    grid = find_grid(name, noise)
    assert grid is not None
    np.testing.assert_array_equal(enter(name, 9, entry_sigma(1.0, noise), noise), grid(9))


# Whether linear-quadratic's number of steps is even or odd moves it, so that several lengths pass one level.
@pytest.mark.parametrize(("name", "noise"), [grid for grid in GRIDS if grid[0] != "linear-quadratic"])
def test_where_a_longer_grid_passes_the_entry_its_own_levels_come_out(name: str, noise: NoiseSchedule) -> None:
    grid = find_grid(name, noise)
    assert grid is not None
    longer = grid(25)[-9:]
    np.testing.assert_allclose(enter(name, 8, float(longer[0]), noise), longer, rtol=1e-9, atol=1e-12)


def test_a_uniform_grid_stays_uniform() -> None:
    np.testing.assert_allclose(enter("uniform", 4, 0.6, FLOW), np.linspace(0.6, 0, 5), atol=1e-3)


def test_an_epsilon_model_enters_at_a_share_of_its_times() -> None:
    assert LATENT.time(np.array([entry_sigma(0.5, LATENT)]))[0] == pytest.approx(0.5 * 999)
    assert entry_sigma(1.0, LATENT) == pytest.approx(LATENT.sigma_max)
    assert entry_sigma(0.25, FLOW) == 0.25


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.01, float("nan")])
def test_a_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(GridError, match="above 0 and at most 1"):
        entry_sigma(strength, FLOW)


def test_what_is_no_grid_or_no_start_is_refused() -> None:
    with pytest.raises(GridError, match="no 'karras2'"):
        enter("karras2", 4, 0.5, FLOW)
    with pytest.raises(GridError, match="at most 1"):
        enter("uniform", 4, 1.5, FLOW)
    with pytest.raises(GridError, match="1 to 1000"):
        enter("uniform", 0, 0.5, FLOW)
