"""What workers have before them: how long a request waits, and what may still be promised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.jobs.messages import WorkerSpeed

SPEED = WorkerSpeed(turn_seconds=0.02, row_seconds=0.01, encode_seconds=0.0, decode_seconds=0.0, rows=8)
"""A full turn takes 100 ms and makes eight forwards: 80 a second."""
NOW_MS = 1_000_000


def load(work: dict[str, int], workers: int = 1) -> Load:
    return Load(SPEED, workers, NOW_MS, work)


def slot(seconds: float, kind: str = "d") -> str:
    return f"{kind}{int((NOW_MS + 1000 * seconds) // 500)}"


def test_an_idle_worker_makes_nobody_wait() -> None:
    assert load({}).wait_s(1.0) == 0.0
    assert load({}).spare_s(1.0) == float("inf")


def test_what_is_due_before_goes_before_and_a_turn_is_under_way() -> None:
    busy = load({slot(1): 40, slot(3): 80, slot(2, "b"): 16, slot(60, "b"): 800})
    assert busy.wait_s(1.0) == pytest.approx(0.5 + 0.05)
    assert busy.wait_s(2.0) == pytest.approx(0.5 + 0.2 + 0.05)
    assert busy.wait_s(None) == pytest.approx(936 / 80 + 0.05)
    assert load({slot(1): 40}, workers=2).wait_s(1.0) == pytest.approx(0.25 + 0.05)


def test_other_owners_go_before_for_no_longer_than_their_turn() -> None:
    work = {slot(1): 40, slot(60, "b"): 880}
    busy = Load(SPEED, 1, NOW_MS, work, owed={"heavy": 640, "light": 80}, weights={"favoured": 4.0})
    begun = 880 - 640 - 80
    half_turn = 0.05
    assert busy.wait_s(None, "heavy") == pytest.approx((40 + begun + 640 + 80) / 80 + half_turn)
    assert busy.wait_s(None, "light") == pytest.approx((40 + begun + 80 + (80 + 40)) / 80 + half_turn)
    assert busy.wait_s(None, "new") == pytest.approx((40 + begun + 40 + 40) / 80 + half_turn)
    assert busy.wait_s(None, "favoured") == pytest.approx((40 + begun + 10 + 10) / 80 + half_turn)
    assert busy.wait_s(2.0, "new") == busy.wait_s(2.0), "what is due later is in nobody's way in any case"


def test_what_is_past_its_deadline_is_in_nobodys_way() -> None:
    assert load({slot(-2): 4000}).wait_s(1.0) == 0.0
    assert load({slot(-2): 4000, slot(1): 8}).wait_s(None) == pytest.approx(0.1 + 0.05)
    assert load({slot(-70, "b"): 80}).wait_s(1.0) == pytest.approx(1.0 + 0.05), "best effort is never given up"


def test_only_what_has_a_deadline_must_not_be_made_late() -> None:
    busy = load({slot(2): 80, slot(1, "b"): 8000})
    assert busy.spare_s(1.0) == pytest.approx(2.5 - 1.0)
    assert busy.spare_s(2.0) == float("inf")


@given(st.lists(st.tuples(st.floats(0.5, 8.0), st.integers(1, 60)), max_size=30))
def test_what_is_promised_can_be_kept_by_the_earliest_deadline_first(asked: list[tuple[float, int]]) -> None:
    """Requests at once, each taken if it fits; served one after the other by deadline, none that was taken is late."""
    work: dict[str, int] = {}
    taken: list[tuple[float, int]] = []
    for due_s, forwards in asked:
        known = Forecast.of(load(work), due_s)
        needs_s = forwards / known.forwards_per_s
        if known.wait_s + needs_s <= due_s and needs_s <= known.spare_s:
            taken.append((due_s, forwards))
            work[slot(due_s)] = work.get(slot(due_s), 0) + forwards
    done_s = 0.0
    for due_s, forwards in sorted(taken):
        done_s += forwards / 80
        assert done_s <= due_s + 0.5, "a slot's width is how exactly it is known when something is due"
