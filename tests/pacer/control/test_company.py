"""What others add to a request's time, against the simulated service."""

from __future__ import annotations

from statistics import median

import msgspec
import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.company import Company
from pacer.control.limits import Forecast
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.poisson import poisson_trace, read_shares
from pacer.control.simulation.service import simulate_service
from pacer.control.work import Work
from pacer.jobs.messages import WorkerSpeed
from pacer.models import load as load_card
from pacer.settings import Settings
from schedules.registry import Registry

SPEED = WorkerSpeed(turn_seconds=0.02, row_seconds=0.01, encode_seconds=0.0, decode_seconds=0.0, rows=8)


def test_alone_nothing_is_added() -> None:
    assert Company(SPEED, 1, 0, 0, 0).added_s(8, 16) == 0.0


def test_one_beside_it_makes_its_turns_longer_as_long_as_it_is_there() -> None:
    begin_s = (0.02 + 2 * 0.01) / 2
    assert Company(SPEED, 1, 0, 8, 1).added_s(8, 16) == pytest.approx(begin_s + 4 * 2 * 0.01)
    assert Company(SPEED, 1, 0, 80, 1).added_s(8, 16) == pytest.approx(begin_s + 8 * 2 * 0.01)


def test_each_of_those_beside_it_is_there_as_long_as_it_has_turns_left() -> None:
    """Of two with 2 and 14 turns left, the mean of which is 8, the first leaves after two of its eight turns."""
    sums = {"d10010": 4, "n10010": 1, "d10020": 28, "n10020": 1}
    work = Work.of(sums, 1_000_000)
    company = Company(SPEED, 1, 0, 32, 2, work=work)
    begin_s = (0.02 + 4 * 0.01) / 2
    assert company.added_s(8, 16) == pytest.approx(begin_s + (2 + 8) * 2 * 0.01)
    drawing = msgspec.structs.replace(SPEED, encode_seconds=0.01, decode_seconds=0.03)
    drawn_s = (1 + 8 / 14) * (0.01 + 0.03)
    assert Company(drawing, 1, 0, 32, 2, work=work).added_s(8, 16) == pytest.approx(begin_s + 10 * 2 * 0.01 + drawn_s)


def test_where_other_sizes_are_drawn_nobody_is_known_to_share_turns() -> None:
    sums = {"d10010": 40, "n10010": 1}
    mixed = msgspec.structs.replace(SPEED, sizes={1: 0.04})
    ahead = {"ahead": 40, "held": 40, "images": 1, "work": Work.of(sums, 1_000_000)}
    assert Company(mixed, 1, **ahead).added_s(4, 8) > 1.5 * Company(SPEED, 1, **ahead).added_s(4, 8)


def test_what_goes_before_and_finds_no_room_beside_it_is_waited_for() -> None:
    """Ten of eight guided steps: three are drawn beside it, the other seven before it in full turns."""
    begin_s, shared_s, full_s = (0.02 + 6 * 0.01) / 2, 8 * 6 * 0.01, 0.1
    crowd = Company(SPEED, 1, 160, 160, 10)
    assert crowd.added_s(8, 16) == pytest.approx(begin_s + shared_s + (160 - 48) / 8 * full_s)
    assert Company(SPEED, 2, 160, 160, 10).added_s(8, 16) < 0.6 * crowd.added_s(8, 16)


def test_what_has_no_deadline_overtakes_longer_ones_in_a_worker() -> None:
    longer = {"ahead": 400, "held": 400, "images": 5}
    waits = Company(SPEED, 1, **longer).added_s(4, 8)
    assert Company(SPEED, 1, **longer, overtakes=True).added_s(4, 8) < 0.2 * waits


@pytest.mark.parametrize(("budgets", "per_s", "most"), [("20:1", 1.2, 0.10), ("20:1", 2.4, 0.20)])
def test_latencies_are_predicted(budgets: str, per_s: float, most: float) -> None:
    """The median share by which predictions are off, at half load and near the full one."""
    card, registry = load_card("shapes-64"), Registry.load(None)
    speed = WorkerSpeed(0.009, 0.0068, 0.005, 0.008, 16, 0.005)
    trace = poisson_trace(
        card, read_shares(budgets), per_s=per_s, seconds=120.0, seed=3, factors=(1.5, 5.0), registry=registry,
        speed=speed,
    )  # fmt: skip
    off = []
    for one in simulate_service(trace, registry, speed, 1, Settings()).outcomes:
        if one.latency_s is not None and one.plan is not None:
            predicted_s = (one.plan.predicted_seconds or 0.0) + (one.plan.predicted_wait_seconds or 0.0)
            off.append(abs(predicted_s - one.latency_s) / one.latency_s)
    assert median(off) <= most


@pytest.mark.parametrize(("images", "workers"), [(1, 1), (4, 1), (10, 1), (10, 2), (24, 1)])
def test_the_last_of_several_images_is_predicted_with_the_others_for_company(images: int, workers: int) -> None:
    card, registry = load_card("shapes-64"), Registry.load(None)
    speed = WorkerSpeed(0.009, 0.0068, 0.005, 0.008, 16, 0.005)
    request = BudgetRequest(card=card, guidance_scale=1.5, width=64, height=64, steps=8)
    trace = [Asked(0.0, request)] * images
    last_s = max(one.latency_s or 0.0 for one in simulate_service(trace, registry, speed, workers, Settings()).outcomes)
    told = Forecast(speed, Company(speed, workers, 0, 0, 0)).times(8, 16, images)
    assert told["latency_seconds"] is not None
    assert told["latency_seconds"][0] == pytest.approx(last_s, rel=0.25)
