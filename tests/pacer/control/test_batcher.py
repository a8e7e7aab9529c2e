"""The batcher: nothing lost, nothing stepped twice, the least slack first."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pacer.control.batcher import Batcher
from pacer.control.policies import POLICIES
from pacer.control.requests import Request
from pacer.control.turns import TurnCost

SLOTS, MAX_ROWS, COST = 6, 5, TurnCost(0.0, 0.1)


def request(name: str, *, rows: tuple[int, ...] = (1, 1), deadline_s: float = 10.0, key: str = "a") -> Request:
    return Request(name, key, rows, deadline_s)


class Traffic(RuleBasedStateMachine):
    """Requests come, go and step in any order; the books must balance at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher(SLOTS, MAX_ROWS)
        self.wanted: dict[str, Request] = {}
        self.steps: Counter[str] = Counter()
        self.now_s = 0.0
        self.count = 0

    @precondition(lambda self: self.batcher.free > 0)
    @rule(
        rows=st.lists(st.integers(1, 2), min_size=1, max_size=5),
        slack=st.floats(-1, 20),
        key=st.sampled_from("ab"),
    )
    def admit(self, rows: list[int], slack: float, key: str) -> None:
        self.count += 1
        new = request(f"r{self.count}", rows=tuple(rows), deadline_s=self.now_s + slack, key=key)
        self.batcher.admit(new)
        self.wanted[new.id] = new

    @rule(seconds=st.floats(0, 3))
    def turn(self, seconds: float) -> None:
        self.now_s += seconds
        batch = self.batcher.pick(self.now_s, COST)
        assert len({member.id for member in batch}) == len(batch)
        assert len({member.key for member in batch}) <= 1
        rows = [member.rows[member.step] for member in batch]
        assert sum(rows) <= MAX_ROWS or len(batch) == 1
        self.steps.update(member.id for member in batch)
        for finished in self.batcher.advance([member.id for member in batch]):
            assert self.steps[finished.id] == len(self.wanted.pop(finished.id).rows)

    @precondition(lambda self: bool(self.wanted))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.wanted)))
        assert self.batcher.remove(name) is not None
        del self.wanted[name]

    @invariant()
    def nothing_is_lost(self) -> None:
        held = {held.id: held.step for held in self.batcher.requests}
        assert held == {name: self.steps[name] for name in self.wanted}

    def teardown(self) -> None:
        for _ in range(200):
            if not self.wanted:
                return
            self.turn(0.0)
        raise AssertionError(f"never finished: {self.wanted}")


TestTraffic = Traffic.TestCase


def test_least_slack_leads_and_remaining_work_counts() -> None:
    batcher = Batcher(SLOTS, MAX_ROWS, POLICIES["least_slack"])
    batcher.admit(request("short", rows=(1,), deadline_s=3.0))
    batcher.admit(request("long", rows=(1,) * 20, deadline_s=4.0, key="b"))
    assert [member.id for member in batcher.pick(0.0, COST)] == ["long"]
    assert [member.id for member in batcher.pick(0.0, TurnCost(0.0, 0.01))] == ["short"]
    assert [member.id for member in batcher.pick(0.0, TurnCost(0.1, 0.0))] == ["long"], "calls cost, not rows alone"


def test_rows_not_requests_are_counted() -> None:
    batcher = Batcher(SLOTS, 4)
    for name in ("a", "b", "c"):
        batcher.admit(request(name, rows=(2, 1)))
    assert len(batcher.pick(0.0, COST)) == 2
    batcher.advance(["a", "b", "c"])
    assert len(batcher.pick(0.0, COST)) == 3


def test_a_request_wider_than_the_limit_goes_alone() -> None:
    batcher = Batcher(SLOTS, 1, POLICIES["fifo"])
    batcher.admit(request("wide", rows=(2,)))
    batcher.admit(request("narrow", rows=(1,)))
    assert [member.id for member in batcher.pick(0.0, COST)] == ["wide"]


@given(st.permutations(["a", "b", "c", "d"]))
def test_equal_slack_goes_by_admission(order: list[str]) -> None:
    batcher = Batcher(SLOTS, 2)
    for name in order:
        batcher.admit(request(name))
    assert [member.id for member in batcher.pick(0.0, COST)] == order[:2]


def test_misuse_is_refused() -> None:
    batcher = Batcher(1, 1)
    batcher.admit(request("a"))
    with pytest.raises(ValueError, match="slots are taken"):
        batcher.admit(request("b"))
    batcher.remove("a")
    with pytest.raises(ValueError, match="at least one evaluation"):
        batcher.admit(request("b", rows=()))
    with pytest.raises(KeyError):
        batcher.advance(["a"])
    with pytest.raises(ValueError, match="at least 1"):
        Batcher(0, 1)


def test_a_request_is_given_other_evaluations_after_those_it_made() -> None:
    batcher = Batcher(2, 8)
    batcher.admit(Request("a", "k", (2, 2, 2), 9.0))
    batcher.advance(["a"])
    batcher.replan("a", (2, 1, 1, 1, 1))
    assert batcher.requests[0].rows_left == 4
    for _ in range(3):
        assert not batcher.advance(["a"])
    assert [request.id for request in batcher.advance(["a"])] == ["a"]


@pytest.mark.parametrize("rows", [(1, 2, 2), (2,), (2, 0, 1)])
def test_what_a_request_made_stays(rows: tuple[int, ...]) -> None:
    batcher = Batcher(2, 8)
    batcher.admit(Request("a", "k", (2, 2, 2), 9.0))
    batcher.advance(["a"])
    with pytest.raises(ValueError, match="must begin with"):
        batcher.replan("a", rows)
    with pytest.raises(KeyError):
        batcher.replan("b", (2, 2))
