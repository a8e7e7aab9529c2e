"""Sizes: a larger picture is quoted and admitted for what it takes, and others wait for it as long."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.batcher import Batcher
from pacer.control.budget_request import BudgetRequest
from pacer.control.inflow import Inflow, inflow_of
from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.control.picture_size import at_size, weight_of
from pacer.control.planner import plan
from pacer.control.replan import Underway, Way, another_way
from pacer.control.requests import Request
from pacer.control.turns import TurnCost
from pacer.control.work import Work, slot_at
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Leeway, Plan, WorkerSpeed
from pacer.models import ModelCard
from schedules.registry import Registry

SIDE, NOW_MS = 512, 1_000_000
CARD = ModelCard(
    id="any", width=(128, 1024, 16), height=(128, 1024, 16), size=(SIDE, SIDE), guidance_scale=4.0, prediction="flow"
)
SPEED = WorkerSpeed(0.0, 0.02, 0.1, 0.05, 8, pixels=SIDE * SIDE)
"""A guided step of the default size takes 40 ms."""


def asked(side: int, **more: Any) -> BudgetRequest:
    fields: dict[str, Any] = {"guidance_scale": 4.0, "width": side, "height": side, "steps": 10}
    return BudgetRequest(card=CARD, **fields | more)


def planned(request: BudgetRequest, forecast: Forecast | None) -> Plan:
    return plan(request, Registry(()), forecast, max_steps=50)[0]


def behind(work: int, due_s: float, latency_s: float | None, speed: WorkerSpeed = SPEED) -> Forecast:
    """What is known behind an image of so much work, due in so many seconds."""
    at = slot_at(NOW_MS + due_s * 1000, NOW_MS)
    sums = {f"d{at}": work, f"n{at}": 1} if work else {}
    return Forecast.of(Load(speed, 1, NOW_MS, Work.of(sums, NOW_MS)), latency_s)


@pytest.mark.parametrize(
    ("side", "denoise_s", "decode_s", "work"),
    [(256, 0.1, 0.0125, 5), (512, 0.4, 0.05, 20), (1024, 1.6, 0.2, 80 + 8)],
)
def test_a_picture_of_other_pixels_is_quoted_by_them(side: int, denoise_s: float, decode_s: float, work: int) -> None:
    made = planned(asked(side), Forecast(SPEED))
    assert made.predicted_seconds == pytest.approx(0.1 + denoise_s + decode_s)
    assert (made.evaluations, made.work) == (20, work), "150 ms more of decoding are eight forwards"


def test_what_was_measured_of_a_size_is_what_it_is_quoted_by() -> None:
    speed = msgspec.structs.replace(SPEED, sizes={1024 * 1024: 0.1})
    made = planned(asked(1024), Forecast(speed))
    assert made.predicted_seconds == pytest.approx(0.1 + 20 * 0.1 + 0.2)
    assert made.work == 20 * 5 + 8
    assert planned(asked(768), Forecast(speed)) == planned(asked(768), Forecast(SPEED))


def test_the_default_size_is_quoted_as_ever() -> None:
    unsized, measured = msgspec.structs.replace(SPEED, pixels=0.0), msgspec.structs.replace(SPEED, sizes={256**2: 0.01})
    for due_s, latency_s in ((0.3, 2.0), (5.0, 2.0), (0.5, None)):
        expected = planned(asked(SIDE, latency_s=latency_s), behind(12, due_s, latency_s, unsized))
        for speed in (SPEED, measured):
            made = planned(asked(SIDE, latency_s=latency_s), behind(12, due_s, latency_s, speed))
            assert made == expected
            assert made.sized_forwards is None


def test_before_anything_was_measured_work_goes_by_pixels() -> None:
    assert [planned(asked(side), None).work for side in (128, 512, 1024)] == [1, 20, 80]


@given(
    turn_s=st.floats(0, 1),
    row_s=st.floats(1e-6, 1),
    rows=st.integers(1, 64),
    side=st.integers(8, 64).map(lambda n: 16 * n),
    forwards=st.integers(1, 10_000),
)
def test_work_takes_in_full_turns_what_its_forwards_take(
    turn_s: float, row_s: float, rows: int, side: int, forwards: int
) -> None:
    speed = WorkerSpeed(turn_s, row_s, 0.0, 0.0, rows, pixels=SIDE * SIDE)
    own = at_size(speed, side * side)
    work = weight_of(own, speed).of(forwards)
    assert work * (turn_s / rows + row_s) == pytest.approx(forwards * (turn_s / rows + own.row_seconds))
    assert (work >= forwards) == (side >= SIDE)


def test_admission_reckons_with_the_pixels() -> None:
    """Ten steps take 0.55 s at the default size, 1.9 s at four times its pixels."""
    assert planned(asked(SIDE, latency_s=1.0), behind(0, 1.0, 1.0)).steps == 10
    with pytest.raises(PacerError, match="would take about 1900 ms") as refused:
        planned(asked(1024, latency_s=1.0), behind(0, 1.0, 1.0))
    assert refused.value.kind is ErrorKind.invalid_request
    open_steps = [
        planned(asked(side, steps=None, max_steps=50, latency_s=2.4), behind(0, 1.0, 2.4)).steps for side in (512, 1024)
    ]
    assert open_steps == [50, 13], "2.1 s are 52 steps of 40 ms, or 13 of 160"


def test_others_wait_for_a_larger_picture_as_long_as_it_takes() -> None:
    small, large = (planned(asked(side), Forecast(SPEED)).work for side in (512, 1024))
    drawn = msgspec.structs.replace(SPEED, sizes={1024 * 1024: 0.08})
    told = [planned(asked(SIDE, latency_s=9.0), behind(work, 1.0, 9.0, drawn)) for work in (small, large)]
    less_s, more_s = (each.predicted_wait_seconds or 0.0 for each in told)
    assert more_s - less_s == pytest.approx((large - small) * 0.02, rel=0.1)
    assert planned(asked(SIDE, latency_s=2.0), behind(small, 1.0, 2.0)).steps == 10
    with pytest.raises(PacerError) as refused:
        planned(asked(SIDE, latency_s=2.0), behind(large, 1.0, 2.0))
    assert refused.value.kind is ErrorKind.deadline_unreachable


def test_a_larger_picture_does_not_break_the_promise_of_another() -> None:
    """Due in two seconds are 0.4 s of work; 0.4 s more fit before it, 1.6 s do not."""
    assert planned(asked(SIDE, latency_s=1.99), behind(20, 2.0, 1.99)).steps == 10
    with pytest.raises(PacerError) as refused:
        planned(asked(1024, latency_s=1.99), behind(20, 2.0, 1.99))
    assert refused.value.kind is ErrorKind.deadline_unreachable


def test_what_comes_in_counts_by_its_pixels() -> None:
    assert inflow_of(asked(1024, latency_s=1.0), 20) == Inflow(1, 0, 80)
    assert inflow_of(asked(1024, steps=None, latency_s=1.0), 20) == Inflow(1, 4, 0)


def test_a_larger_picture_is_planned_anew_by_its_own_time() -> None:
    """With 1.2 s left there is time for six more steps of 40 ms, and not of 160."""
    slow, fast = Way(12, (2,) * 12, 30.0), Way(8, (2,) * 8, 20.0)
    at = slot_at(NOW_MS + 1200, NOW_MS)
    for pixels, chosen in ((SIDE * SIDE, None), (1024 * 1024, fast)):
        request = Underway(slow, 4, 1.2, 3.0, Leeway(2, 12), pixels)
        load = Load(SPEED, 1, NOW_MS, Work.of({f"d{at}": 16 * pixels // SIDE**2, f"n{at}": 1}, NOW_MS))
        assert another_way(request, [fast], load) == chosen


def test_a_batch_has_the_slack_that_its_own_size_leaves() -> None:
    """Two of a size are in time together where a turn of both takes 80 ms, and one by one where it takes 320."""
    for key, together in (("small", 2), ("large", 1)):
        batcher = Batcher(4, 8)
        for name in "ab":
            batcher.admit(Request(name, key, (2,) * 5, 1.0))
        costs = {"small": TurnCost(0.0, 0.02), "large": TurnCost(0.0, 0.08)}
        assert len(batcher.pick(0.0, lambda found, costs=costs: costs[str(found)])) == together
