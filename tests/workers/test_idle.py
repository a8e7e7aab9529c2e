"""An idle worker measures itself anew, so that one bad moment does not keep every deadline away for ever."""

from __future__ import annotations

from workers.idle import IdleClock


def times(clock: IdleClock, idle: list[tuple[float, bool]]) -> list[float]:
    return [at_s for at_s, is_idle in idle if clock.is_due(at_s, idle=is_idle)]


def test_soon_at_first_then_ever_more_seldom() -> None:
    ticks = [(0.1 * n, True) for n in range(4000)]
    due = times(IdleClock(), ticks)
    assert [round(at_s) for at_s in due] == [1, 3, 7, 15, *range(31, 400, 16)]


def test_work_begins_it_anew() -> None:
    clock = IdleClock()
    assert times(clock, [(0.0, True), (1.0, True), (2.0, True), (3.0, True), (3.1, False), (100.0, True)]) == [1.0, 3.0]
    assert times(clock, [(100.5, True), (101.0, True), (102.0, True), (103.0, True)]) == [101.0, 103.0]
