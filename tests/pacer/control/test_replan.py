"""Requests under way go on otherwise only where nobody suffers, or where they would be late themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.budget_request import BudgetRequest
from pacer.control.inflow import Inflow
from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.control.replan import Underway, Way, another_way, leeway_of
from pacer.control.work import Work, slot_at
from pacer.jobs.messages import Leeway, Lora, WorkerSpeed
from pacer.models import load as load_card

SPEED = WorkerSpeed(turn_seconds=0.02, row_seconds=0.01, encode_seconds=0.0, decode_seconds=0.0, rows=8)
"""A guided image takes 40 ms a step where it is alone."""
NOW_MS = 1_000_000


def way(steps: int) -> Way:
    return Way(steps, (2,) * steps, 30.0 + 2 * steps)


OTHERS = [way(steps) for steps in (2, 4, 8, 12, 16)]


def load(*, own: int, due_s: float, others: int = 0, inflow: Inflow | None = None) -> Load:
    """Work that is due when the request is, its own among it."""
    slot = slot_at(NOW_MS + 1000 * due_s, NOW_MS)
    work = {f"d{slot}": own + others, f"n{slot}": 1 + (others > 0)}
    return Load(SPEED, 1, NOW_MS, Work.of(work, NOW_MS), inflow=inflow or Inflow())


def request(steps: int = 6, *, done: int = 0, due_s: float, least: int = 1, most: int = 100, **bounds: int) -> Underway:
    return Underway(way(steps), done, due_s, due_s + 1, Leeway(least, most, **bounds))


def test_who_is_left_alone_gets_what_there_is_time_for() -> None:
    assert another_way(request(due_s=2.0), OTHERS, load(own=12, due_s=2.0)) == way(16)
    assert another_way(request(due_s=0.5), OTHERS, load(own=12, due_s=0.5)) == way(12)
    assert another_way(request(due_s=0.3), OTHERS, load(own=12, due_s=0.3)) is None


def test_what_is_behind_it_takes_no_more_time() -> None:
    assert another_way(request(done=4, due_s=0.5), OTHERS, load(own=4, due_s=0.5)) == way(16)


def test_nobody_else_is_made_late() -> None:
    assert another_way(request(due_s=2.0), OTHERS, load(own=12, due_s=2.0, others=160)) is None


def test_those_who_come_are_left_room() -> None:
    crowd = Inflow(images=20.0, open_images=20.0)
    assert another_way(request(due_s=2.0), OTHERS, load(own=12, due_s=2.0, others=8, inflow=crowd)) is None


@pytest.mark.parametrize(("bounds", "given"), [({"most": 10}, 8), ({"evaluations": 24}, 12), ({"most": 7}, None)])
def test_the_callers_bounds_hold(bounds: dict[str, int], given: int | None) -> None:
    found = another_way(request(due_s=2.0, **bounds), OTHERS, load(own=12, due_s=2.0))
    assert found == (None if given is None else way(given))


def test_who_would_be_late_gets_what_can_be_in_time() -> None:
    assert another_way(request(due_s=0.2), OTHERS, load(own=12, due_s=0.2)) == way(4)
    assert another_way(request(due_s=0.2, least=5), OTHERS, load(own=12, due_s=0.2)) is None
    assert another_way(request(due_s=-0.1), OTHERS, load(own=12, due_s=0.1)) is None


@given(
    steps=st.integers(2, 16), done=st.integers(0, 8), due_s=st.floats(0.05, 4.0), others=st.integers(0, 200),
    degrade_at=st.sampled_from([0.35, 1.0]),
)  # fmt: skip
def test_another_way_is_better_or_the_own_is_late(
    steps: int, done: int, due_s: float, others: int, degrade_at: float
) -> None:
    done = min(done, steps - 1)
    ways = [other for other in OTHERS if other.steps > done]
    asked = request(steps, done=done, due_s=due_s)
    told = load(own=way(steps).left(done)[1], due_s=due_s, others=others)
    found = another_way(asked, ways, told, degrade_at=degrade_at)
    if found is None:
        return
    free = Forecast(SPEED)
    assert free.service_s(*found.left(done)) <= due_s
    assert found.psnr_db > asked.way.psnr_db or free.service_s(*asked.way.left(done)) > due_s


def test_what_leaves_its_steps_open_has_leeway() -> None:
    card = load_card("shapes-64")
    asked = BudgetRequest(card=card, guidance_scale=1.5, width=64, height=64, latency_s=2.0, max_steps=200)
    assert leeway_of(asked, 50) == Leeway(1, 50)


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 8, "latency_s": 2.0},
        {"max_steps": 12},
        {"latency_s": 2.0, "schedule": "shapes-64/learned/6"},
        {"latency_s": 2.0, "min_psnr_db": 40.0},
        {"latency_s": 2.0, "lora": (Lora("a"),)},
        {"latency_s": 2.0, "min_steps": 8, "max_steps": 8},
    ],
)
def test_what_says_what_it_wants_has_none(fields: dict[str, object]) -> None:
    fields = {"guidance_scale": 1.5, "width": 64, "height": 64, **fields}
    assert leeway_of(BudgetRequest(card=load_card("shapes-64"), **fields), 50) is None  # type: ignore[arg-type]
