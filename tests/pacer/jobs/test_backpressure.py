import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.jobs.backpressure import LEAST_S, MOST_S, UNMEASURED_S, retry_after_s

COUNTS = st.integers(1, 1000)


def test_it_is_the_time_in_which_the_places_become_free():
    assert retry_after_s(6, departures=10, window_s=20.0, predicted_s=99.0, workers=4) == 12.0
    assert retry_after_s(6, departures=0, window_s=0.0, predicted_s=4.0, workers=3) == 8.0
    assert retry_after_s(6, departures=0, window_s=0.0, predicted_s=4.0, workers=0) == 24.0
    assert retry_after_s(6, departures=0, window_s=0.0) == UNMEASURED_S


@given(COUNTS, COUNTS, st.floats(0, 1e9), st.none() | st.floats(0, 1e9), st.integers(0, 100))
def test_it_is_bounded(excess, departures, window_s, predicted_s, workers):
    wait_s = retry_after_s(excess, departures=departures, window_s=window_s, predicted_s=predicted_s, workers=workers)
    assert LEAST_S <= wait_s <= MOST_S


@given(COUNTS, COUNTS, st.floats(0.001, 1e6))
def test_more_in_the_way_never_shortens_it(excess, departures, window_s):
    first, more = (retry_after_s(n, departures=departures, window_s=window_s) for n in (excess, excess + 1))
    assert more >= first


def test_a_queue_that_stands_still_is_said_to_take_longer_and_longer():
    waits = [retry_after_s(1, departures=5, window_s=window_s) for window_s in (10.0, 60.0, 600.0)]
    assert waits == pytest.approx([2.0, 12.0, 120.0])
