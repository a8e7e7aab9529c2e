"""What the store's sums say of the work: in whatever order and however many they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.work import Work

NOW_MS = 1_000_000
SLOTS = st.integers(NOW_MS // 100 - 30, NOW_MS // 100 + 200)
COUNTS = st.dictionaries(SLOTS, st.tuples(st.integers(1, 400), st.integers(1, 9)), max_size=40)


def sums_of(due: dict[int, tuple[int, int]], hoped: dict[int, tuple[int, int]]) -> dict[str, int]:
    sums = {f"d{slot}": forwards for slot, (forwards, _) in due.items()}
    sums |= {f"n{slot}": jobs for slot, (_, jobs) in due.items()}
    sums |= {f"m{slot}": jobs for slot, (_, jobs) in hoped.items()}
    return sums | {f"b{slot}": forwards for slot, (forwards, _) in hoped.items()}


def parts(work: Work) -> list[list[float]]:
    return [
        array.tolist()
        for array in (work.slots, work.forwards, work.jobs, work.longest, work.hoped_slots, work.hoped_forwards)
    ]


@given(due=COUNTS, hoped=COUNTS, seed=st.integers(0, 99))
def test_sums_add_up_by_when_they_are_due(
    due: dict[int, tuple[int, int]], hoped: dict[int, tuple[int, int]], seed: int
) -> None:
    names = list(sums_of(due, hoped).items())
    np.random.default_rng(seed).shuffle(names)
    work = Work.of(dict(names), NOW_MS)
    ahead = {slot: due[slot] for slot in sorted(due) if slot >= NOW_MS // 100}
    assert work.slots.tolist() == list(ahead)
    assert work.images == sum(jobs for _, jobs in ahead.values()) + sum(jobs for _, jobs in hoped.values())
    assert work.held == sum(n for n, _ in ahead.values()) + sum(n for n, _ in hoped.values())
    for slot in range(NOW_MS // 100 - 40, NOW_MS // 100 + 210, 7):
        assert work.due_by(slot) == sum(n for at, (n, _) in ahead.items() if at <= slot)
        assert work.hoped_by(slot) == sum(n for at, (n, _) in hoped.items() if at <= slot)
        longest = [n / jobs for at, (n, jobs) in ahead.items() if at <= slot]
        place = work.place(slot)
        assert (work.longest[place - 1] if place else None) == (max(longest) if longest else None)


def test_jobs_that_nobody_counted_are_one_a_slot() -> None:
    """An older version sums the forwards alone, and may have begun a queue that a newer one goes on with."""
    at = NOW_MS // 100
    work = Work.of({f"d{at}": 8, f"d{at + 1}": 6, f"n{at + 1}": 2, f"b{at}": 4}, NOW_MS)
    assert (work.jobs.tolist(), work.longest.tolist(), work.hoped_jobs) == ([1, 3], [8, 8], 1)


def test_where_nothing_waits_there_is_nothing() -> None:
    work = Work.of({}, NOW_MS)
    assert (work.held, work.images, work.due_by(float("inf")), work.hoped_by(3), work.place(9)) == (0, 0, 0, 0, 0)
