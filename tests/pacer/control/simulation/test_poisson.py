"""Traces out of a rate: the same seed gives the same; deadlines are in service times."""

import pytest

from pacer.control.simulation.asked import Asked
from pacer.control.simulation.poisson import Share, poisson_trace, read_shares
from pacer.jobs.messages import WorkerSpeed
from pacer.models import load
from schedules.registry import Registry

CARD = load("shapes-64")
REGISTRY = Registry.load()
SPEED = WorkerSpeed(0.009, 0.0068, 0.002, 0.004, 16, 0.02)
MIX = read_shares("4:3,6-12:1")


def trace(per_s: float = 5.0, seconds: float = 200.0, seed: int = 3, **changed: object) -> tuple[Asked, ...]:
    options = {"factors": (1.5, 3.0), "registry": REGISTRY, "speed": SPEED, **changed}
    return poisson_trace(CARD, MIX, per_s=per_s, seconds=seconds, seed=seed, **options)


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    assert trace() == trace()
    assert trace() != trace(seed=4)


def test_twice_the_rate_is_the_same_twice_as_fast() -> None:
    slow, fast = trace(2.0), trace(4.0)
    assert len(fast) > len(slow)
    assert [one.request for one in fast[: len(slow)]] == [one.request for one in slow]
    assert [one.at_s for one in fast[: len(slow)]] == pytest.approx([one.at_s / 2 for one in slow], abs=2e-6)


def test_rate_shares_and_deadlines_are_those_asked_for() -> None:
    known = trace(50.0, 200.0)
    assert len(known) == pytest.approx(10_000, abs=400)  # four standard deviations
    assert [one.at_s for one in known] == sorted(one.at_s for one in known)
    assert known[-1].at_s <= 200.0
    exact = [one.request for one in known if one.request.steps == 4]
    ranged = [one.request for one in known if one.request.steps is None]
    assert {(one.min_steps, one.max_steps) for one in ranged} == {(6, 12)}
    assert len(exact) / len(known) == pytest.approx(0.75, abs=0.02)
    solo_s = 0.026 + 4 * 0.009 + 8 * 0.0068
    due = [one.latency_s / solo_s for one in exact if one.latency_s is not None]
    assert len(due) == len(exact)
    assert min(due) == pytest.approx(1.5, abs=0.02)
    assert max(due) == pytest.approx(3.0, abs=0.02)
    longest_s = 0.026 + 12 * 0.009 + 24 * 0.0068
    assert max(one.latency_s or 0.0 for one in ranged) == pytest.approx(3 * longest_s, rel=0.02)


def test_without_factors_nothing_is_due() -> None:
    assert {one.request.latency_s for one in trace(factors=None)} == {None}


def test_shares_are_read() -> None:
    assert read_shares("4:50,8-20:0.5") == (Share(4, 4, 50.0), Share(8, 20, 0.5))


@pytest.mark.parametrize("text", ["", "4", "4:", "4:-1", "0:1", "8-4:1", "4:inf", "4:nan", "a:1", "4:1,", "4.5:1"])
def test_shares_that_are_none_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"budgets: must be steps:weight or least-most:weight"):
        read_shares(text)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"per_s": 0.0}, "rate: must be above 0"),
        ({"seconds": float("inf")}, "seconds: must be above 0 and finite"),
        ({"per_s": 1e6, "seconds": 1e6}, "at most 5,000,000 requests"),
        ({"seed": -1}, "seed: must be 0 or more"),
        ({"factors": (3.0, 1.5)}, "deadline-factor: must be two numbers above 0, the least first"),
        ({"factors": (0.0, 1.5)}, "deadline-factor: must be two numbers above 0"),
        ({"max_steps": 10}, "budgets: budget.max_steps: steps must lie in 1 to 10, is 12"),
    ],
)
def test_what_is_out_of_range_is_told(changed: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        trace(**changed)
