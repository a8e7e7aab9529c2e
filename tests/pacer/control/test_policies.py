"""Policies: who goes first, in simulated traffic of shapes-64's own costs; nobody waits for ever."""

from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacer.control.batcher import Batcher
from pacer.control.policies import POLICIES, Policy, PolicyName, Urgency
from pacer.control.requests import Request
from pacer.control.simulator import Arrival, Outcome, simulate
from pacer.control.turns import Overruns, TurnCost

COST = TurnCost(0.009, 0.0068)
"""Of shapes-64 on one core, measured."""

BUDGETS, SHARES = (4, 8, 20, 50), (0.5, 0.3, 0.15, 0.05)


def exact_slack(request: Request, now_s: float, cost: TurnCost) -> Urgency:
    return (request.slack_s(now_s, cost),)


def request(name: str, steps: int = 2, *, deadline_s: float = 10.0, admitted_s: float = 0.0) -> Request:
    return Request(name, "a", (2,) * steps, deadline_s, admitted_s=admitted_s)


def first(policy: PolicyName, *requests: Request) -> str:
    batcher = Batcher(len(requests), 2, POLICIES[policy])
    for one in requests:
        batcher.admit(one)
    (chosen,) = batcher.pick(0.0, COST)
    return chosen.id


def test_each_policy_has_its_own_favourite() -> None:
    requests = (
        request("early", 40, deadline_s=20.0, admitted_s=-2.0),
        request("short", 3, deadline_s=19.0, admitted_s=-1.0),
        request("due", 10, deadline_s=1.0),
        request("tight", 300, deadline_s=7.0),
    )
    chosen = {policy: first(policy, *requests) for policy in POLICIES}
    assert chosen == {
        "balanced": "due", "fifo": "early", "edf": "due", "least_slack": "tight", "srpt": "short",
    }  # fmt: skip


def test_balanced_goes_by_work_where_deadlines_are_far() -> None:
    long, short = request("long", 40, deadline_s=100.0), request("short", 3, deadline_s=101.0)
    assert (first("balanced", long, short), first("edf", long, short)) == ("short", "long")


def test_what_is_late_already_yields_to_what_can_be_in_time() -> None:
    late, good = request("late", 50, deadline_s=0.5), request("good", 5, deadline_s=9.0)
    assert first("edf", late, good) == "late"
    assert first("least_slack", late, good) == "good"
    assert first("balanced", late, good) == "good"


def workload(load: float, *, best_effort: bool = False, count: int = 400, seed: int = 0) -> list[Arrival]:
    """Poisson arrivals, images per second; deadlines of three times the solo time."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / load, count))
    steps = rng.choice(BUDGETS, count, p=SHARES)
    return [
        Arrival(float(at), (2,) * int(n), 60.0 if best_effort else 3 * COST.seconds(int(n), 2 * int(n)), best_effort)
        for at, n in zip(times, steps, strict=True)
    ]


def outcomes(policy: Policy, arrivals: list[Arrival], aging_s: float = 30.0) -> list[Outcome]:
    return simulate(arrivals, Batcher(16, 16, policy, aging_s), COST)


def goodput(ended: list[Outcome]) -> float:
    return sum(one.in_time for one in ended) / max(one.done_s or 0.0 for one in ended)


def mean_latency(ended: list[Outcome]) -> float:
    return fmean(one.latency_s for one in ended if one.latency_s is not None)


def test_equal_best_effort_requests_do_not_wait_for_each_other() -> None:
    """Sixteen at once, of which eight fit into a batch: exact slack lets all end as late as the last."""
    arrivals = [Arrival(0.001 * n, (2,) * 20, 60.0, best_effort=True) for n in range(16)]
    in_turn = mean_latency(outcomes(Policy(exact_slack), arrivals))
    one_by_one = mean_latency(outcomes(POLICIES["least_slack"], arrivals))
    assert one_by_one < 0.8 * in_turn


@pytest.mark.parametrize("policy", ["balanced", "least_slack"])
def test_where_nothing_has_a_deadline_it_is_as_quick_as_the_quickest(policy: PolicyName) -> None:
    arrivals = workload(6.5, best_effort=True)
    mean, best = (mean_latency(outcomes(POLICIES[name], arrivals)) for name in (policy, "srpt"))
    assert mean <= 1.1 * best
    assert mean < 0.97 * mean_latency(outcomes(Policy(exact_slack), arrivals))


@pytest.mark.parametrize(("load", "gain"), [(5.0, 1.1), (7.0, 1.6), (10.0, 4.0)])
def test_under_load_more_deadlines_are_met_than_by_any_other_order(load: float, gain: float) -> None:
    arrivals = workload(load)
    met = {name: goodput(outcomes(policy, arrivals)) for name, policy in POLICIES.items()}
    assert met["balanced"] >= gain * met["fifo"]
    assert met["balanced"] >= 0.99 * max(met.values())


def test_beyond_capacity_more_arrivals_do_not_mean_fewer_in_time() -> None:
    met = [goodput(outcomes(POLICIES["balanced"], workload(load))) for load in (7.0, 10.0, 14.0, 21.0)]
    assert met == sorted(met)


def test_a_batch_grows_no_further_than_its_members_deadlines_allow() -> None:
    batcher = Batcher(8, 16)
    for n in range(8):
        batcher.admit(request(f"r{n}", 10, deadline_s=2 * COST.seconds(10, 20)))
    few = batcher.pick(0.0, COST)
    assert len(few) == 2, "45 ms a turn are allowed; two take 36, three 50"
    assert len(batcher.pick(0.5, COST)) == 8, "all will be late: nothing is gained by small batches"
    patient = Batcher(8, 16, POLICIES["fifo"])
    for one in batcher.requests:
        patient.admit(one)
    assert len(patient.pick(0.0, COST)) == 8


def test_where_turns_overrun_a_batch_is_so_small_that_one_may() -> None:
    unsteady = TurnCost(COST.turn_s, COST.row_s, overrun=1.0)
    batcher = Batcher(8, 16)
    for n in range(8):
        batcher.admit(request(f"r{n}", 10, deadline_s=1.1))
    assert len(batcher.pick(0.0, COST)) == 7, "110 ms a turn are allowed; seven take 104, eight 118"
    assert len(batcher.pick(0.0, unsteady)) == 6, "one of 118 ms is kept back: 98 are allowed, six take 91"
    assert len(batcher.pick(0.8, unsteady)) == 1, "there is no time to keep back, and yet time for one alone"


def test_an_overrun_is_remembered_for_a_while() -> None:
    overruns = Overruns()
    overruns.note(1.0, 2.0)
    assert overruns.share == 0
    overruns.note(1.5, 1.0)
    assert overruns.share == 0.5
    for _ in range(100):
        overruns.note(1.0, 1.0)
    assert 0.2 < overruns.share < 0.3
    overruns.note(90.0, 1.0)
    assert overruns.share == 1.0, "a worker that stood still once does not keep a minute back from then on"


@settings(deadline=None, max_examples=60)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    steps=st.integers(1, 30),
    keys=st.lists(st.sampled_from("ab"), min_size=1, max_size=40),
    rival_steps=st.integers(1, 6),
    rival_slack_s=st.floats(0.0, 0.5),
    aging_s=st.floats(0.01, 2.0),
    max_rows=st.integers(1, 6),
)
def test_no_request_is_starved_by_a_stream_of_others(
    policy: PolicyName,
    steps: int,
    keys: list[str],
    rival_steps: int,
    rival_slack_s: float,
    aging_s: float,
    max_rows: int,
) -> None:
    """Every slot is always taken by rivals that are shorter, more urgent, or of another kind."""
    batcher, now_s, come = Batcher(4, max_rows, POLICIES[policy], aging_s), 0.0, 0
    older = Request("older", "b", (2,) * rival_steps, 60.0, admitted_s=0.0)
    patient = Request("patient", "a", (2,) * steps, 60.0, admitted_s=0.0)
    batcher.admit(older)
    batcher.admit(patient)
    longest_turn_s = COST.seconds(1, max(2, max_rows))
    # Passed over at most every second turn once it has aged and what was there before it has left.
    bound_s = aging_s + (2 * (steps + rival_steps) + 2) * longest_turn_s
    while patient.id in batcher:
        while batcher.free:
            key = keys[come % len(keys)]
            batcher.admit(Request(f"r{come}", key, (1,) * rival_steps, now_s + rival_slack_s, admitted_s=now_s))
            come += 1
        batch = batcher.pick(now_s, COST)
        now_s += COST.seconds(1, sum(member.next_rows for member in batch))
        batcher.advance([member.id for member in batch])
        assert now_s <= bound_s
