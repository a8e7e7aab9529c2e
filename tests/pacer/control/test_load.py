"""What workers have before them: who goes before a request, who is beside it, and what may still be promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pacer.control.batcher import Batcher
from pacer.control.company import Company
from pacer.control.limits import Forecast, Limits
from pacer.control.load import Load
from pacer.control.policies import POLICIES
from pacer.control.promise import Promise
from pacer.control.requests import Request
from pacer.control.simulator import Arrival, simulate
from pacer.control.turns import Overruns, TurnCost
from pacer.control.work import Work, slot_at
from pacer.jobs.messages import WorkerSpeed

SPEED = WorkerSpeed(turn_seconds=0.02, row_seconds=0.01, encode_seconds=0.0, decode_seconds=0.0, rows=8)
"""A full turn takes 100 ms and makes eight forwards: 80 a second."""
NOW_MS = 1_000_000


def load(work: dict[str, int], workers: int = 1) -> Load:
    return Load(SPEED, workers, NOW_MS, Work.of(work, NOW_MS))


def slot(seconds: float, kind: str = "d") -> str:
    return f"{kind}{slot_at(NOW_MS + 1000 * seconds, NOW_MS)}"


def promised_for(told: Load, due_s: float, owner: str | None = None) -> Promise:
    return told.promise(due_s, told.company(due_s, owner))


def test_an_idle_worker_makes_nobody_wait() -> None:
    assert load({}).ahead(1.0) == load({}).ahead(None) == 0
    assert promised_for(load({}), 1.0).late_s(8, 16) == (pytest.approx(8 * 0.02 + 16 * 0.01 - 1.0), float("-inf"))


def test_what_is_due_before_goes_before() -> None:
    busy = load({slot(1): 40, slot(3): 80, slot(2, "b"): 16, slot(60, "b"): 800})
    assert [busy.ahead(due_s) for due_s in (0.5, 1.0, 2.0, None)] == [0, 40, 56, 936]


def test_other_owners_go_before_for_no_longer_than_their_turn() -> None:
    work = {slot(1): 40, slot(60, "b"): 880}
    busy = Load(SPEED, 1, NOW_MS, Work.of(work, NOW_MS), owed={"heavy": 640, "light": 80}, weights={"favoured": 4.0})
    begun = 880 - 640 - 80
    assert busy.ahead(None, "heavy") == 40 + begun + 640 + 80
    assert busy.ahead(None, "light") == 40 + begun + 80 + (80 + 40)
    assert busy.ahead(None, "new") == 40 + begun + 40 + 40
    assert busy.ahead(None, "favoured") == 40 + begun + 10 + 10
    assert busy.ahead(2.0, "new") == busy.ahead(2.0), "what is due later is in nobody's way in any case"


def test_what_is_past_its_deadline_is_in_nobodys_way() -> None:
    assert load({slot(-2): 4000}).ahead(1.0) == 0
    assert load({slot(-2): 4000, slot(1): 8}).ahead(None) == 8
    assert load({slot(-70, "b"): 80}).ahead(1.0) == 80, "best effort is never given up"


def test_who_is_beside_it_is_counted() -> None:
    told = load({slot(1): 40, slot(1, "n"): 5, slot(-2): 8, slot(-2, "n"): 1, slot(60, "b"): 800, slot(60, "m"): 50})
    assert told.company(0.5) == Company(SPEED, 1, 0, 840, 55, work=told.work)
    assert told.company(None) == Company(SPEED, 1, 840, 840, 55, overtakes=True, work=told.work)


def test_only_what_has_a_deadline_must_not_be_made_late() -> None:
    busy = load({slot(2): 70, slot(2, "n"): 5, slot(9, "b"): 8000})
    own, others = promised_for(busy, 1.0).late_s(8, 16)
    assert others < 0, "seventy forwards and these in two seconds"
    assert max(own, promised_for(busy, 1.0).late_s(8, 16, images=5)[1]) < others + 5 * 16 / 80
    assert promised_for(busy, 1.0).late_s(8, 96)[1] > 0 > own
    assert promised_for(busy, 2.5).late_s(8, 16)[1] == float("-inf"), "nothing is due after it"


def test_what_nobody_was_promised_keeps_no_deadline_from_another_owner() -> None:
    """A heavy owner's patient jobs that have come due: another's deadline is in time after its turn of them."""
    work = {slot(-1, "b"): 8000, slot(-1, "m"): 500}
    busy = Load(SPEED, 1, NOW_MS, Work.of(work, NOW_MS), owed={"heavy": 7960})
    assert max(promised_for(busy, 2.0, "light").late_s(8, 16)) < 0
    assert max(promised_for(busy, 2.0, "heavy").late_s(8, 16)) > 0


def test_a_burst_of_equals_fills_its_batches() -> None:
    """Ten of eight guided steps, 160 forwards: twenty full batches of 100 ms, where one at a time they take 3.2 s.

    A quarter of the time is kept back for turns that last longer than they should.
    """
    promised = promised_for(load({slot(3.4): 144, slot(3.4, "n"): 9}), 3.4)
    assert max(promised.late_s(8, 16)) < 0
    tight = promised_for(load({slot(1.7): 144, slot(1.7, "n"): 9}), 1.7)
    assert max(tight.late_s(8, 16)) > 0


def test_a_long_image_cannot_be_drawn_faster_by_full_batches() -> None:
    """Fifty turns alone take two seconds, whatever the workers make of others in that time."""
    assert max(promised_for(load({}), 2.1).late_s(50, 100)) < 0
    company = {slot(2.0): 80, slot(2.0, "n"): 10}
    assert max(promised_for(load(company), 2.1).late_s(50, 100)) > 0
    assert max(promised_for(load(company), 4.5).late_s(50, 100)) < 0


def test_what_is_left_to_others_is_left_only_where_there_are_any() -> None:
    spared = {"spared": 0.4}
    assert promised_for(load({}), 1.0).late_s(8, 16, **spared) == promised_for(load({}), 1.0).late_s(8, 16)
    busy = promised_for(load({slot(0.5): 8, slot(0.5, "n"): 1}), 1.0)
    assert busy.late_s(8, 16, **spared)[0] == pytest.approx(busy.late_s(8, 16)[0] + 0.4 * 0.75)


def test_far_deadlines_share_wider_slots_and_are_never_taken_for_later() -> None:
    far = {slot_at(NOW_MS + 1000 * seconds, NOW_MS) for seconds in (30.0, 30.3, 30.9)}
    assert len(far) == 1
    assert min(far) * 100 <= NOW_MS + 30_000


def test_what_is_promised_is_kept() -> None:
    """Requests at once, each taken if that can be promised, drawn by the workers' own batcher: 99 of 100 in time."""
    rng, cost = np.random.default_rng(0), TurnCost(SPEED.turn_seconds, SPEED.row_seconds)
    kept: list[bool] = []
    for _ in range(300):
        taken = promised(rng.uniform(0.3, 8.0, 30).tolist(), rng.integers(1, 51, 30).tolist())
        ended = simulate(taken, Batcher(30, int(SPEED.rows), POLICIES["balanced"]), cost)
        kept += [one.in_time for one in ended]
    assert len(kept) > 300 * 8
    assert sum(kept) >= 0.99 * len(kept)


def test_fewer_promises_are_broken_where_overruns_are_known_of() -> None:
    """One turn in ten lasts twice as long."""
    rng = np.random.default_rng(1)
    sets = [promised(rng.uniform(0.3, 8.0, 30).tolist(), rng.integers(1, 51, 30).tolist()) for _ in range(100)]
    late = {told: sum(late_in_unsteady_turns(taken, told=told) for taken in sets) for told in (False, True)}
    assert late[True] < 0.7 * late[False], late
    assert late[True] < 0.01 * sum(map(len, sets))


def late_in_unsteady_turns(taken: list[Arrival], *, told: bool) -> int:
    """How many promised images are late."""
    rng, overruns, now_s, late = np.random.default_rng(len(taken)), Overruns(), 0.0, 0
    batcher = Batcher(30, int(SPEED.rows), POLICIES["balanced"])
    for place, one in enumerate(taken):
        batcher.admit(Request(str(place), "a", one.rows, one.allowed_s))
    while len(batcher):
        cost = TurnCost(SPEED.turn_seconds, SPEED.row_seconds, overruns.share if told else 0.0)
        batch = batcher.pick(now_s, cost)
        predicted_s = cost.seconds(1, sum(one.next_rows for one in batch))
        lasted_s = predicted_s * (2.0 if rng.random() < 0.1 else 1.0)
        overruns.note(lasted_s, predicted_s)
        now_s += lasted_s
        late += sum(one.deadline_s < now_s for one in batcher.advance([one.id for one in batch]))
    return late


def promised(due_s: list[float], steps: list[int]) -> list[Arrival]:
    """Those of guided requests, one after the other, to which their deadline is promised."""
    work: dict[str, int] = {}
    taken: list[Arrival] = []
    for due, count in zip(due_s, steps, strict=True):
        limits = Limits(steps=(1, 50), latency_s=due, forecast=Forecast.of(load(work), due))
        if limits.in_time(count, 2 * count):
            taken.append(Arrival(0.0, (2,) * count, due))
            for kind, more in (("d", 2 * count), ("n", 1)):
                work[slot(due, kind)] = work.get(slot(due, kind), 0) + more
    return taken


@given(
    due=st.dictionaries(st.floats(0.1, 12.0), st.tuples(st.integers(1, 300), st.integers(1, 5)), max_size=30),
    due_s=st.floats(0.05, 12.0),
    turns=st.integers(1, 40),
    each=st.sampled_from([1, 2]),
    images=st.integers(1, 4),
    workers=st.integers(1, 3),
    spared=st.floats(0.0, 0.9),
)
def test_a_promise_holds_where_nobody_is_late(
    due: dict[float, tuple[int, int]], due_s: float, turns: int, each: int, images: int, workers: int, spared: float
) -> None:
    work = {slot(at): forwards for at, (forwards, _) in due.items()} | {slot(at, "n"): n for at, (_, n) in due.items()}
    told = load(work, workers)
    late_s = promised_for(told, due_s).late_s(turns, turns * each, images, spared=spared)
    assert late_s[1] == pytest.approx(worst_later_s(told, due_s, turns, each, images, spared=spared), abs=1e-9)
    assume(all(abs(late) > 1e-9 for late in late_s))  # where they are just in time, the last bit decides
    assert promised_for(told, due_s).holds(turns, turns * each, images, spared=spared) == (max(late_s) <= 0)


def worst_later_s(told: Load, due_s: float, turns: int, each: int, images: int, *, spared: float) -> float:
    """By the formula, for every slot after the request's own."""
    work = told.work
    later = work.slots > slot_at(NOW_MS + 1000 * due_s, NOW_MS)
    until_s = work.slots[later] / 10 - NOW_MS / 1000
    forwards = (work.forwards[later] + turns * each * images) / told.workers
    longest = np.maximum(work.longest[later] / 2, turns)
    affordable = (until_s / longest - SPEED.turn_seconds) / SPEED.row_seconds
    rows = np.clip(0.4 * affordable, each, max(each, SPEED.rows))
    calls = 0.7 * np.maximum(longest, forwards / rows) + 0.3 * np.maximum(longest, forwards / each)
    begin_s = told.company(due_s).turn_s(2)
    needed_s = begin_s + calls * SPEED.turn_seconds + forwards * SPEED.row_seconds
    return float((needed_s - 0.75 * (1 - spared) * until_s).max(initial=-np.inf))


def test_what_workers_hold_of_best_effort_keeps_no_deadline_away_where_they_step_it_last() -> None:
    work = {slot(-1, "b"): 8000, slot(1): 40}
    first = Load(SPEED, 1, NOW_MS, Work.of(work, NOW_MS), owed={"heavy": 7000, "light": 10})
    last = replace(first, late_last=True)
    assert first.ahead(2.0, "light") == 40 + 990 + 10 + 50
    assert last.ahead(2.0, "light") == 40 + 10 + 50
    assert last.ahead(2.0, "heavy") == 40 + 7000 + 10, "what waits is handed out before it"
    assert last.ahead(None, "light") == first.ahead(None, "light"), "without a deadline it waits for it"
