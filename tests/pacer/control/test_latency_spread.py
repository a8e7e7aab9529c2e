from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.latency_spread import HALF, KEPT, MOST, LatencySpread, times_of
from pacer.control.limits import Forecast
from pacer.jobs.messages import WorkerSpeed


def spread_after(ratios: list[float]) -> LatencySpread:
    spread = LatencySpread()
    for ratio in ratios:
        spread.note(3.0 * ratio, 3.0)
    return spread


def test_before_anything_was_drawn_a_quote_is_cautious() -> None:
    fresh = LatencySpread()
    assert fresh.within(HALF) == pytest.approx(1.0, abs=0.01)
    assert 1.5 < fresh.within(MOST) < 2.0


@pytest.mark.parametrize(("sigma", "bias"), [(0.05, 1.0), (0.3, 1.2), (0.6, 0.8)])
def test_as_many_images_stay_within_what_is_told_as_it_says(sigma: float, bias: float) -> None:
    draws = bias * np.random.default_rng(1).lognormal(0.0, sigma, 4000)
    spread, within = LatencySpread(), {HALF: 0, MOST: 0}
    for number, ratio in enumerate(draws):
        if number >= KEPT:
            for share in within:
                within[share] += ratio <= spread.within(share)
        spread.note(ratio, 1.0)
    counted = len(draws) - KEPT
    assert within[HALF] / counted == pytest.approx(HALF, abs=0.03)
    assert within[MOST] / counted == pytest.approx(MOST, abs=0.02)


@given(st.lists(st.floats(0.01, 100.0), max_size=3 * KEPT))
def test_half_never_takes_longer_than_most(ratios: list[float]) -> None:
    spread = spread_after(ratios)
    assert 0 < spread.within(HALF) <= spread.within(MOST) <= 100.0


def test_what_is_long_past_is_forgotten() -> None:
    spread = spread_after([50.0] * KEPT + [1.1] * KEPT)
    assert (spread.within(HALF), spread.within(MOST)) == pytest.approx((1.1, 1.1))


def test_a_forecast_tells_of_both_the_wait_and_the_service() -> None:
    speed = WorkerSpeed(0.1, 0.01, 0.2, 0.3, half_within=1.1, most_within=1.6)
    expected_s = Forecast(speed).service_s(4, 8)
    assert Forecast(speed).times(4, 8, 1)["latency_seconds"] == pytest.approx((1.1 * expected_s, 1.6 * expected_s))
    told = times_of(speed, 1.0, 0.5)
    assert told["latency_seconds"] == pytest.approx((1.65, 2.4))
