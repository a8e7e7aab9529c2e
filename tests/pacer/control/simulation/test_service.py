"""A simulated service: nothing is lost, nothing is invented, and it plans as the gateway plans."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacer.control.budget_request import BudgetRequest
from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.control.planner import plan
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.figures import Figures, Report
from pacer.control.simulation.poisson import poisson_trace, read_shares
from pacer.control.simulation.service import Simulated, simulate_service
from pacer.control.work import Work
from pacer.errors import ErrorKind
from pacer.jobs.messages import WorkerSpeed
from pacer.models import load
from pacer.settings import Settings
from schedules.registry import Registry

CARD = load("shapes-64")
REGISTRY = Registry.load()
SPEED = WorkerSpeed(0.009, 0.0068, 0.002, 0.004, 16, 0.02)
"""Of shapes-64 on one core, measured."""

SOLO_8_S = 0.002 + 8 * 0.009 + 16 * 0.0068 + 0.004 + 0.02


def request(**budget: object) -> BudgetRequest:
    width, height = CARD.default_size
    return replace(BudgetRequest(card=CARD, guidance_scale=CARD.guidance_scale, width=width, height=height), **budget)


def run(trace: tuple[Asked, ...], workers: int = 1, speed: WorkerSpeed = SPEED, **changed: object) -> Simulated:
    return simulate_service(trace, REGISTRY, speed, workers, Settings().model_copy(update=changed))


def traffic(per_s: float, seconds: float = 60.0, budgets: str = "4:50,8:30,20:15", seed: int = 0) -> tuple[Asked, ...]:
    return poisson_trace(
        CARD, read_shares(budgets), per_s=per_s, seconds=seconds, seed=seed, factors=(1.5, 5.0), registry=REGISTRY,
        speed=SPEED,
    )  # fmt: skip


budgets = st.one_of(
    st.fixed_dictionaries({"steps": st.integers(1, 24)}),
    st.fixed_dictionaries({"min_steps": st.integers(1, 4), "max_steps": st.integers(5, 20)}),
    st.fixed_dictionaries({"min_quality": st.sampled_from([0.9, 0.97, 0.9999])}),
    st.fixed_dictionaries({"evaluations": st.integers(1, 30)}),
)
arrivals = st.lists(
    st.tuples(st.floats(0.0, 0.2), budgets, st.one_of(st.none(), st.floats(0.01, 3.0))), min_size=1, max_size=50
)


def trace_of(drawn: list[tuple[float, dict[str, object], float | None]]) -> tuple[Asked, ...]:
    at_s, trace = 0.0, []
    for gap_s, budget, due_s in drawn:
        at_s += gap_s
        trace.append(Asked(at_s, request(**budget, latency_s=due_s)))
    return tuple(trace)


@settings(deadline=None, max_examples=40)
@given(arrivals, st.integers(1, 4), st.integers(1, 20), st.integers(1, 6))
def test_every_request_ends_once_and_none_that_was_taken_is_lost(
    drawn: list[tuple[float, dict[str, object], float | None]], workers: int, queue_limit: int, slots: int
) -> None:
    trace = trace_of(drawn)
    done = run(trace, workers, queue_limit=queue_limit, slots=slots)
    assert tuple(one.asked for one in done.outcomes) == trace
    figures = Figures.of(done.outcomes)
    assert figures.offered == len(trace) == figures.admitted + figures.refused + figures.invalid
    assert figures.admitted == figures.completed + figures.expired
    for one in done.outcomes:
        assert (one.plan is None) == (one.error is not None) == (one.state in {"refused", "invalid"})
        assert (one.done_s is None) == (one.state != "completed")
        if one.state == "expired":
            assert one.asked.request.latency_s is not None, "what has no deadline is never given up"
        if one.plan is not None and one.latency_s is not None:
            assert one.latency_s >= (one.plan.predicted_seconds or 0.0) - 1e-9, "nothing is faster than alone"
    # Turns are shared, rows are not: what was drawn took at least its rows, and no worker works twice at a time.
    rows_s = sum(one.plan.evaluations * SPEED.row_seconds for one in done.outcomes if one.plan and one.done_s)
    assert done.busy_s >= rows_s - 1e-9
    assert Report.of(done).utilisation <= 1 + 1e-9


@settings(deadline=None, max_examples=10)
@given(arrivals, st.integers(1, 3))
def test_the_same_trace_ends_the_same(drawn: list[tuple[float, dict[str, object], float | None]], workers: int) -> None:
    assert Report.of(run(trace_of(drawn), workers)) == Report.of(run(trace_of(drawn), workers))


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 1000), st.sampled_from([4.0, 9.0, 16.0]))
def test_more_workers_draw_no_fewer_in_time(seed: int, per_s: float) -> None:
    trace = traffic(per_s, 20.0, seed=seed)
    met = [Figures.of(run(trace, workers).outcomes).in_time for workers in (1, 2, 4)]
    # Another worker changes what is taken in, so that single requests may fare worse.
    assert met[1] >= met[0] - 0.02 * len(trace)
    assert met[2] >= met[1] - 0.02 * len(trace)
    assert met[2] > met[0] or per_s < 9


def test_a_request_alone_takes_what_it_was_predicted_to() -> None:
    (alone,) = run((Asked(3.0, request(steps=8, latency_s=5.0)),)).outcomes
    assert alone.latency_s == pytest.approx(SOLO_8_S)
    assert alone.plan is not None
    assert alone.plan.predicted_seconds == pytest.approx(SOLO_8_S)
    assert alone.in_time


def test_two_at_once_share_their_calls_on_one_worker_and_none_on_two() -> None:
    together = tuple(Asked(0.0, request(steps=8)) for _ in range(2))
    one, two = run(together, 1), run(together, 2)
    # The first begins at once; the second is taken in after its first call.
    assert max(each.latency_s or 0 for each in one.outcomes) == pytest.approx(
        SOLO_8_S + 0.009 + 2 * 0.0068 + 0.002 + 7 * 2 * 0.0068 + 0.004, abs=1e-3
    ), "seven of its eight calls cost rows alone more, and the other picture is decoded in between"
    assert [each.latency_s for each in two.outcomes] == pytest.approx([SOLO_8_S, SOLO_8_S])


def test_it_is_planned_as_the_gateway_plans() -> None:
    """Fifteen came just before, as the store would tell it, and one that leaves its steps open."""
    before = tuple(Asked(0.0, request(steps=8, latency_s=3.2)) for _ in range(15))
    last = request(min_steps=2, max_steps=20, latency_s=1.2)
    outcomes = run((*before, Asked(0.01, last))).outcomes
    assert not any(one.error for one in outcomes)
    told = Load(SPEED, 1, 10, Work.of({"d32": 15 * 16, "n32": 15}, 10))
    planned, _ = plan(last, REGISTRY, Forecast.of(told, 1.2), degrade_at=Settings().degrade_at)
    idle, _ = plan(last, REGISTRY, Forecast(SPEED))
    assert outcomes[-1].plan == planned
    assert planned.steps < 0.9 * idle.steps, "longer, it would make the others late"


@pytest.mark.parametrize(("at_s", "left"), [(0.35, {"d30": 12, "n30": 1}), (0.45, {"d30": 4, "n30": 1}), (2.0, {})])
def test_the_gateway_knows_of_progress_what_beats_told_it(at_s: float, left: dict[str, int]) -> None:
    """Twenty steps of 22.6 ms end at 0.454 s; the beats of 0.3 and 0.4 s tell of 14 and 18 of them."""
    last = request(min_steps=2, max_steps=20, latency_s=4.0)
    outcomes = run((Asked(0.0, request(steps=20, latency_s=3.0)), Asked(at_s, last)), beat_s=0.1).outcomes
    told = Load(SPEED, 1, int(at_s * 1000), Work.of(left, int(at_s * 1000)))
    assert outcomes[-1].plan == plan(last, REGISTRY, Forecast.of(told, 4.0), degrade_at=Settings().degrade_at)[0]


def test_under_load_those_who_allow_it_get_fewer_steps() -> None:
    calm, busy = (Figures.of(run(traffic(rate, budgets="4-20:1")).outcomes) for rate in (0.5, 8.0))
    assert calm.mean_steps is not None
    assert busy.mean_steps is not None
    assert busy.mean_steps < 0.8 * calm.mean_steps


def test_a_crowd_without_deadlines_gets_fewer_steps_of_a_range_and_is_not_refused() -> None:
    ranges = tuple(Asked(0.1 * place, request(min_steps=4, max_steps=20)) for place in range(200))
    crowd, alone = run(ranges), run(ranges[:1])
    assert [one.plan.steps for one in alone.outcomes if one.plan] == [20]
    steps = [one.plan.steps for one in crowd.outcomes if one.plan]
    assert (len(steps), steps[0]) == (200, 20)
    assert min(steps) < 12
    fixed = run(tuple(replace(asked, request=request(steps=20)) for asked in ranges))
    last_s = [max(one.done_s or 0.0 for one in each.outcomes) for each in (crowd, fixed)]
    assert last_s[0] < 0.75 * last_s[1]


def test_who_cannot_be_in_time_is_refused_by_the_load_or_wrong_in_himself() -> None:
    crowd = tuple(Asked(0.0, request(steps=20, latency_s=1.0)) for _ in range(30))
    outcomes = run((*crowd, Asked(0.0, request(steps=20, latency_s=0.1)))).outcomes
    assert outcomes[0].state == "completed"
    assert (outcomes[-2].state, outcomes[-2].error) == ("refused", ErrorKind.deadline_unreachable)
    assert (outcomes[-1].state, outcomes[-1].error) == ("invalid", ErrorKind.invalid_request)


def test_a_full_queue_refuses() -> None:
    outcomes = run(tuple(Asked(0.0, request(steps=8)) for _ in range(9)), slots=2, queue_limit=3).outcomes
    assert [one.state for one in outcomes] == ["completed"] * 5 + ["refused"] * 4
    assert outcomes[-1].error is ErrorKind.queue_full


def test_what_is_late_is_given_up_and_never_in_time() -> None:
    outcomes = run(traffic(14.0, budgets="4:3,50:1"), policy="fifo").outcomes
    expired = [one for one in outcomes if one.state == "expired"]
    assert expired
    assert not any(one.in_time for one in expired)
    assert all(one.plan is not None for one in expired)


def test_the_settings_of_the_batcher_count() -> None:
    trace = traffic(9.0)
    by_policy = {name: Report.of(run(trace, policy=name)).goodput_per_s for name in ("balanced", "fifo")}
    assert by_policy["balanced"] > by_policy["fifo"]
    crowd = tuple(Asked(0.01 * n, request(steps=8 if n == 0 else 4)) for n in range(150))
    first = [run(crowd, aging_s=aging_s).outcomes[0].latency_s for aging_s in (0.2, 1000.0)]
    assert (first[0] or 0) < 0.5 * (first[1] or 0), "who has waited long enough leads every other turn"


def test_at_least_one_worker() -> None:
    with pytest.raises(ValueError, match="workers: must be at least 1, is 0"):
        run(traffic(1.0), 0)


def open_crowd(per_s: float, begins_s: float, seconds: float, seed: int) -> list[Asked]:
    """Requests of four to twenty steps, due in one and a half to five times what twenty take alone."""
    rng, alone_s = np.random.default_rng(seed), 20 * (0.009 + 2 * 0.0068)
    times = np.cumsum(rng.exponential(1 / per_s, int(2 * per_s * seconds)))
    due = rng.uniform(1.5, 5.0, len(times)) * alone_s
    any_steps = request(min_steps=4, max_steps=20)
    return [
        Asked(begins_s + float(at), replace(any_steps, latency_s=float(s)))
        for at, s in zip(times, due, strict=True)
        if at < seconds
    ]


def test_a_load_step_costs_steps_not_promises_and_leaves_no_trace() -> None:
    """From 0.3 to 3 times what a worker draws of twenty steps, and back."""
    per_s = 16 / (40 * (0.009 + 16 * 0.0068))
    parts = [open_crowd(factor * per_s, 30.0 * place, 30.0, place) for place, factor in enumerate((0.3, 3.0, 0.3))]
    outcomes = iter(run(tuple(one for part in parts for one in part)).outcomes)
    calm, crowded, after = (Figures.of(list(islice(outcomes, len(part)))) for part in parts)
    assert sum(one.in_time for one in (calm, crowded, after)) >= 0.995 * sum(
        one.admitted for one in (calm, crowded, after)
    )
    assert crowded.admitted >= 0.9 * crowded.offered, "degraded before it is shed"
    assert crowded.mean_steps is not None
    assert calm.mean_steps is not None
    assert after.mean_steps is not None
    assert crowded.mean_steps < 0.6 * calm.mean_steps
    assert after.mean_steps > 0.75 * calm.mean_steps
    assert calm.admitted + after.admitted >= 0.98 * (calm.offered + after.offered)


def test_workers_plan_anew_where_a_crowd_has_gone() -> None:
    crowd = [Asked(0.01 * i, request(min_steps=4, max_steps=12, latency_s=9.0)) for i in range(40)]
    trace = (Asked(0.0, request(steps=20)), *crowd)
    as_planned, anew = run(trace, slots=2, replan=False), run(trace, slots=2)

    def steps(done: Simulated) -> list[int]:
        return [one.plan.steps for one in done.outcomes if one.plan is not None]

    assert [one.in_time for one in anew.outcomes] == [one.in_time for one in as_planned.outcomes]
    assert sum(steps(anew)) > sum(steps(as_planned))
    changed = [one.plan for one in anew.outcomes if one.plan is not None and one.plan.replanned is not None]
    assert changed
    assert all(4 <= plan.steps <= 12 and plan.steps > plan.replanned[0] for plan in changed if plan.replanned)
    assert not [one for one in as_planned.outcomes if one.plan is not None and one.plan.replanned is not None]
