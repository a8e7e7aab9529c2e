import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.grids import shifted
from schedules.interpolate import interpolate, resample


def family(*budgets: int) -> dict[int, np.ndarray]:
    return {steps: shifted(steps, 1 + 16 / steps) for steps in budgets}


def test_a_searched_budget_is_its_own() -> None:
    known = family(4, 8)
    assert interpolate(known, 8) is known[8]


@given(steps=st.integers(1, 60), budgets=st.sets(st.integers(1, 40), min_size=1, max_size=6))
def test_every_grid_falls_from_the_start_to_zero(steps: int, budgets: set[int]) -> None:
    grid = interpolate(family(*budgets), steps)
    assert len(grid) == steps + 1
    assert grid[0] == pytest.approx(1.0)
    assert grid[-1] == 0
    assert (np.diff(grid) < 0).all()


def test_a_family_says_more_than_one_of_its_members_stretched() -> None:
    known, wanted = family(4, 5, 7, 8), shifted(6, 1 + 16 / 6)
    between, stretched = interpolate(known, 6), resample(known[8], 6)
    assert np.abs(between - wanted).max() < 0.3 * np.abs(stretched - wanted).max()


def test_beyond_the_ends_the_nearest_curve_is_kept() -> None:
    known = family(4, 8)
    np.testing.assert_array_equal(interpolate(known, 12), resample(known[8], 12))
    np.testing.assert_array_equal(interpolate(known, 2), resample(known[4], 2))


@pytest.mark.parametrize(("known", "steps"), [({}, 3), (family(4), 0)])
def test_nothing_to_go_by_is_refused(known: dict[int, np.ndarray], steps: int) -> None:
    with pytest.raises(ValueError, match="steps"):
        interpolate(known, steps)
