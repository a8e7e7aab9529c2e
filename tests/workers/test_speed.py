"""Speeds: one image alone is predicted from turns of any size, and a busy spell does not spoil it."""

from itertools import cycle, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.speed import SpeedMeter, TurnFit

TURN_S, ROW_S = 0.020, 0.003


def seconds_of(fit: TurnFit, rows: int) -> float:
    assert fit.cost is not None
    return fit.cost.seconds(1, rows)


def noted(
    sizes: list[int], *, turn_s: float = TURN_S, row_s: float = ROW_S, noise: float = 0.0, seed: int = 0
) -> TurnFit:
    fit, rng = TurnFit(), np.random.default_rng(seed)
    for rows in sizes:
        fit.note(rows, (turn_s + row_s * rows) * float(1 + noise * rng.standard_normal()))
    return fit


def test_two_sizes_of_batches_tell_both_parts() -> None:
    fit = noted(list(islice(cycle([2, 16, 5, 1, 9]), 200)))
    assert fit.cost is not None
    assert (fit.cost.turn_s, fit.cost.row_s) == (pytest.approx(TURN_S, rel=0.02), pytest.approx(ROW_S, rel=0.02))


@pytest.mark.parametrize("seed", range(5))
def test_a_busy_spell_does_not_spoil_the_prediction_for_one_image_alone(seed: int) -> None:
    fit = noted([2] * 40 + [16] * 1000 + [15, 16] * 500, noise=0.05, seed=seed)
    assert seconds_of(fit, 2) == pytest.approx(TURN_S + 2 * ROW_S, rel=0.15)
    assert seconds_of(fit, 16) == pytest.approx(TURN_S + 16 * ROW_S, rel=0.05)


def test_what_is_always_measured_is_predicted_whatever_its_parts() -> None:
    assert seconds_of(noted([2] * 100, noise=0.05), 2) == pytest.approx(TURN_S + 2 * ROW_S, rel=0.05)
    assert seconds_of(noted([16]), 16) == pytest.approx(TURN_S + 16 * ROW_S)


def test_a_machine_that_slows_down_is_followed() -> None:
    fit = noted(list(islice(cycle([2, 8, 16]), 300)))
    for rows in islice(cycle([2, 8, 16]), 300):
        fit.note(rows, 3 * (TURN_S + ROW_S * rows))
    assert seconds_of(fit, 2) == pytest.approx(3 * (TURN_S + 2 * ROW_S), rel=0.05)


def test_an_odd_turn_says_little_and_many_say_all() -> None:
    fit, alone_s = noted([2] * 60), TURN_S + 2 * ROW_S
    fit.note(2, 10 * alone_s)
    assert seconds_of(fit, 2) < 1.06 * alone_s
    for _ in range(80):
        fit.note(2, 2.5 * alone_s)
    assert seconds_of(fit, 2) == pytest.approx(2.5 * alone_s, rel=0.05)


@given(
    turns=st.lists(st.tuples(st.integers(1, 64), st.floats(1e-5, 100)), min_size=1, max_size=200),
    rows=st.integers(1, 64),
)
def test_no_turns_whatever_predict_less_than_nothing(turns: list[tuple[int, float]], rows: int) -> None:
    fit = TurnFit()
    for size, seconds in turns:
        fit.note(size, seconds)
    assert fit.cost is not None
    assert fit.cost.turn_s >= 0
    assert fit.cost.row_s >= 0
    assert np.isfinite(seconds_of(fit, rows))


def test_costs_that_grow_faster_than_their_rows_have_no_fixed_part() -> None:
    fit = TurnFit()
    for rows in islice(cycle([1, 4, 16]), 300):
        fit.note(rows, 1e-4 * rows**2)
    assert fit.cost is not None
    assert fit.cost.turn_s == 0
    assert 1e-4 < fit.cost.row_s < 16e-4


def test_costs_that_fall_with_the_rows_are_the_calls_own() -> None:
    fit = TurnFit()
    for rows in islice(cycle([1, 4, 16]), 300):
        fit.note(rows, 0.1 - 1e-3 * rows)
    assert fit.cost is not None
    assert fit.cost.row_s == 0
    assert fit.cost.turn_s == pytest.approx(0.093, abs=0.003)


def test_nothing_is_published_before_a_whole_picture_was_drawn() -> None:
    meter = SpeedMeter(16)
    assert meter.cost.seconds(1, 1) > 0
    meter.encoded(0.5)
    assert meter.snapshot() is None
    meter.stepped(0.08, 4)
    assert meter.snapshot() is None
    meter.decoded(0.25)
    published = meter.snapshot()
    assert published is not None
    assert (published.turn_seconds, published.row_seconds) == (0.0, pytest.approx(0.02))
    assert (published.encode_seconds, published.decode_seconds, published.rows) == (0.5, 0.25, 16)


def test_how_far_images_were_off_their_plans_is_published() -> None:
    meter = SpeedMeter(16)
    meter.stepped(0.08, 4)
    meter.encoded(0.5)
    meter.decoded(0.25)
    for number in range(200):
        meter.ended(2.0 if number % 10 else 4.0, 2.0)
    published = meter.snapshot()
    assert published is not None
    assert (published.half_within, published.most_within) == pytest.approx((1.0, 2.0))


def test_what_follows_the_last_step_is_known_once_pictures_were_delivered() -> None:
    meter = SpeedMeter(16)
    meter.stepped(0.1, 1)
    meter.encoded(0.5)
    before = meter.tail_s
    assert 0 < before < 0.05, "the way to the caller, which nobody measures"
    meter.decoded(0.25)
    meter.delivered(0.125)
    published = meter.snapshot()
    assert published is not None
    assert meter.tail_s == pytest.approx(0.375 + before)
    assert published.deliver_seconds == pytest.approx(0.125 + before)


def test_prompts_and_pictures_are_moving_averages() -> None:
    meter = SpeedMeter(16)
    meter.stepped(0.1, 1)
    for seconds in (1.0, 2.0):
        meter.encoded(seconds)
        meter.decoded(10 * seconds)
    published = meter.snapshot()
    assert published is not None
    assert (published.encode_seconds, published.decode_seconds) == (pytest.approx(1.1), pytest.approx(11.0))


def test_what_lies_between_turns_is_the_batchers_and_not_the_planners() -> None:
    """The planner counts prompts and pictures by the image; a batch is as late as what comes between its turns."""
    meter = SpeedMeter(8)
    for _ in range(100):
        meter.stepped(TURN_S + ROW_S, 1)
        meter.stepped(TURN_S + 4 * ROW_S, 4)
        meter.paused(0.010)
    meter.encoded(0.1)
    meter.decoded(0.1)
    published = meter.snapshot()
    assert published is not None
    assert published.turn_seconds == pytest.approx(TURN_S, rel=0.05)
    assert meter.cost.seconds(1, 4) == pytest.approx(TURN_S + 4 * ROW_S + 0.010, rel=0.05)


def test_turns_that_last_longer_than_predicted_are_told_of() -> None:
    meter = SpeedMeter(16)
    for rows in (2, 8, 16, 4) * 5:
        meter.stepped(TURN_S + ROW_S * rows, rows)
    assert meter.cost.overrun == pytest.approx(0, abs=0.05)
    meter.paused(0.030)
    meter.stepped(TURN_S + ROW_S * 8, 8)
    assert 0.3 < meter.cost.overrun < 0.75, "a gap of 30 ms before a turn of 44, of which three are the gaps' new mean"
    meter.stepped(3 * (TURN_S + ROW_S * 8), 8)
    assert meter.cost.overrun == 1


@pytest.mark.parametrize("factor", [8.0, 1.5, 1.0])
def test_a_few_turns_of_an_idle_worker_undo_what_a_bad_moment_taught(factor: float) -> None:
    """The machine was so many times as slow when it last drew; now it is as ever, but for one turn."""
    meter = SpeedMeter(16)
    meter.encoded(factor * 0.006)
    meter.decoded(factor * 0.012)
    for rows in (2, 8, 16, 4) * 10:
        meter.stepped(factor * (TURN_S + ROW_S * rows), rows)
    for odd in (1, 1, 9, 1, 1, 1, 1, 9):
        meter.tried(odd * (TURN_S + 2 * ROW_S), 2)
    told = meter.snapshot()
    assert told is not None
    found = (told.turn_seconds, told.row_seconds, told.encode_seconds, told.decode_seconds)
    assert found == pytest.approx((TURN_S, ROW_S, 0.006, 0.012), rel=0.2)


def test_who_has_drawn_nothing_tells_nothing_of_itself() -> None:
    meter = SpeedMeter(16)
    meter.tried(0.1, 2)
    assert meter.snapshot() is None


DEFAULT, LARGE, HUGE = 64 * 64, 128 * 128, 256 * 256


def of_two_sizes(*, large_row_s: float = 5 * ROW_S) -> SpeedMeter:
    meter = SpeedMeter(16)
    meter.encoded(0.006)
    for rows in (2, 16, 8) * 10:
        meter.stepped(TURN_S + ROW_S * rows, rows, DEFAULT)
    for rows in (2, 4, 8) * 20:
        meter.stepped(TURN_S + large_row_s * rows, rows, LARGE)
    return meter


def test_a_row_of_another_size_is_known_once_it_was_drawn_and_goes_by_pixels_before() -> None:
    meter = of_two_sizes()
    found = [meter.cost_at(pixels).seconds(1, 4) for pixels in (DEFAULT, LARGE, HUGE)]
    assert found == pytest.approx([TURN_S + 4 * factor * ROW_S for factor in (1, 5, 16)], rel=0.01)
    meter.decoded(0.01, DEFAULT)
    told = meter.snapshot()
    assert told is not None
    assert (told.turn_seconds, told.row_seconds) == (pytest.approx(TURN_S), pytest.approx(ROW_S)), "of the default size"
    assert (told.pixels, told.sizes) == (DEFAULT, {LARGE: pytest.approx(5 * ROW_S)})


def test_a_size_that_is_drawn_for_the_first_time_is_no_overrun() -> None:
    meter = SpeedMeter(16)
    for rows in (2, 16, 8) * 10:
        meter.stepped(TURN_S + ROW_S * rows, rows, DEFAULT)
    meter.stepped(TURN_S + 12 * ROW_S * 4, 4, LARGE)
    assert meter.cost.overrun < 0.01
    meter.stepped(2 * (TURN_S + 12 * ROW_S * 4), 4, LARGE)
    assert meter.cost.overrun == pytest.approx(1.0, abs=0.01)


def test_pictures_decode_by_their_pixels() -> None:
    meter = SpeedMeter(16)
    meter.stepped(TURN_S, 1, DEFAULT)
    meter.decoded(0.04, LARGE)
    rest_s = meter.tail_s - 0.01
    tails = [meter.tail_at(pixels) - rest_s for pixels in (0, DEFAULT, HUGE)]
    assert tails == pytest.approx([0.01, 0.01, 0.16])


def test_an_idle_turn_that_was_faster_makes_all_sizes_faster() -> None:
    meter = of_two_sizes()
    before = meter.cost_at(LARGE).seconds(1, 4)
    for _ in range(8):
        meter.tried((TURN_S + 2 * ROW_S) / 4, 2)
    assert meter.cost_at(LARGE).seconds(1, 4) == pytest.approx(before / 4, rel=0.1)


def test_the_sizes_that_are_told_are_bounded() -> None:
    meter = SpeedMeter(16)
    meter.encoded(0.1)
    meter.decoded(0.1)
    for side in range(1, 101):
        meter.stepped(TURN_S, 1, side)
    told = meter.snapshot()
    assert told is not None
    assert sorted(told.sizes) == list(range(69, 101))
