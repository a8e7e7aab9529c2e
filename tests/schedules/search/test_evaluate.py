import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules.search.evaluate import (
    bootstrap,
    bootstrap_ratio,
    pool,
    pooled_error,
    psnr_db,
    seed_errors,
    ssim,
    summarise,
    tolerance_limit,
)


def test_psnr_of_a_known_error() -> None:
    reference = np.full((2, 4, 4, 3), 200, dtype=np.uint8)
    pixels = reference - np.array([51, 5], dtype=np.uint8)[:, None, None, None]
    assert psnr_db(pixels, reference).tolist() == pytest.approx([13.979, 34.151], abs=1e-3)


def test_a_share_that_no_pair_contradicts_is_not_taken_for_certain() -> None:
    scores = np.array([1.0, 0.0] * 64)
    shown = bootstrap_ratio(scores, scores)
    assert shown.mean == 1.0
    assert shown.low == pytest.approx(1 - 0.0284, abs=1e-4), "by chance 3 in 100 may differ, and none of 128 does"
    one = scores.copy()
    one[0] = 0.0
    assert bootstrap_ratio(one, scores).low < bootstrap_ratio(one, scores).mean == pytest.approx(63 / 64)


def test_psnr_of_equal_pictures_is_that_of_rounding() -> None:
    pixels = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    assert psnr_db(pixels, pixels)[0] == pytest.approx(58.92, abs=0.01)


def test_ssim_of_known_pictures() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float64)
    flat = np.full((1, 32, 32, 3), 100.0)
    assert ssim(noise, noise).tolist() == pytest.approx([1.0])
    assert abs(ssim(noise, noise[:, ::-1])[0]) < 0.1
    brighter = (2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025)  # only the luminance differs
    assert ssim(flat, flat + 50).tolist() == pytest.approx([brighter])
    assert ssim(noise, 0.5 * noise + 64)[0] < 0.9


def test_seed_errors_and_their_summary() -> None:
    errors = seed_errors(torch.tensor([[1.0, 1.0], [0.0, 4.0]]), torch.zeros(2, 2))
    assert errors.tolist() == [1.0, 8.0]
    summary = summarise(np.arange(11.0))
    assert (summary.mean, summary.median, summary.p90) == (5.0, 5.0, 9.0)


def test_pooling_by_the_mean_and_by_the_geometric_mean() -> None:
    errors = torch.tensor([1.0, 4.0, 16.0])
    assert float(pool(errors)) == 7.0
    assert float(pool(errors, log=True)) == pytest.approx(4.0)
    assert pooled_error(torch.tensor([[2.0], [0.0]]), torch.zeros(2, 1)) == 2.0


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=40))
def test_bootstrap_interval_holds_the_mean_and_stays_inside_the_values(values: list[float]) -> None:
    figure = bootstrap(np.array(values))
    assert min(values) - 1e-9 <= figure.low <= figure.mean + 1e-9
    assert figure.mean - 1e-9 <= figure.high <= max(values) + 1e-9


def test_bootstrap_interval_has_the_width_of_the_theory() -> None:
    values = np.random.default_rng(1).normal(size=400)
    figure = bootstrap(values)
    assert figure.high - figure.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert figure == bootstrap(values)


def test_a_tolerance_limit_is_the_largest_order_statistic_with_that_confidence() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 301.0))
    below = np.cumsum([math.comb(300, k) * 0.1**k * 0.9 ** (300 - k) for k in range(31)])  # k of 300 under the quantile
    assert tolerance_limit(values, 0.90) == np.count_nonzero(below <= 0.05)
    assert tolerance_limit(values[:59], 0.95) == values[:59].min()  # Wilks: 59 for 95 % by 95 %
    assert tolerance_limit(values[:148], 0.98) is None
    assert tolerance_limit(values[:149], 0.98) == values[:149].min()


def test_98_of_100_reach_the_tolerance_limit_19_times_in_20() -> None:
    draws = np.random.default_rng(2)
    kept = [
        float((draws.exponential(size=20_000) >= (tolerance_limit(draws.exponential(size=256), 0.98) or 9)).mean())
        for _ in range(200)
    ]
    assert np.mean(np.array(kept) >= 0.98) >= 0.93
    assert np.median(kept) < 0.997, "and it is no bound of nothing"
