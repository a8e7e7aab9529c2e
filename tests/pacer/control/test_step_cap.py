"""The step cap: a mean time that the simulation confirms, and no more steps than the traffic leaves."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.batcher import Batcher
from pacer.control.inflow import Inflow
from pacer.control.policies import POLICIES
from pacer.control.simulator import Arrival, simulate
from pacer.control.step_cap import Traffic
from pacer.control.turns import TurnCost
from pacer.jobs.messages import WorkerSpeed

SPEED = WorkerSpeed(0.009, 0.0068, 0.0, 0.0, rows=16)
"""Of shapes-64 on one core, measured; a full batch makes 136 forwards a second."""
FORWARD_S = (0.009 + 16 * 0.0068) / 16
ALONE_S = 0.009 + 2 * 0.0068
RATES = st.floats(0.0, 60.0)


def of_open(per_s: float, *, fixed: float = 0.0, workers: int = 1) -> Traffic:
    """So many open images a second, and forwards of others."""
    return Traffic(Inflow(per_s + fixed / 20, per_s, fixed), SPEED, workers)


@pytest.mark.parametrize("steps", [4, 10, 20])
@pytest.mark.parametrize(("busy", "off"), [(0.3, 0.15), (0.6, 0.25), (0.9, 0.2)])
def test_the_mean_time_is_that_of_a_simulated_worker(steps: int, busy: float, off: float) -> None:
    per_s = busy / (2 * steps * FORWARD_S)
    times = np.cumsum(np.random.default_rng(steps).exponential(1 / per_s, 1500))
    arrivals = [Arrival(float(at), (2,) * steps, 60.0, best_effort=True) for at in times]
    ended = simulate(arrivals, Batcher(64, 16, POLICIES["fifo"]), TurnCost(SPEED.turn_seconds, SPEED.row_seconds))
    told = fmean(one.latency_s or 0.0 for one in ended)
    assert of_open(per_s).latency_s(steps, 2) == pytest.approx(told, rel=off)


def test_beyond_what_can_be_drawn_there_is_no_end() -> None:
    per_s = 1 / (20 * FORWARD_S)
    assert of_open(0.99 * per_s).latency_s(10, 2) < of_open(0.999 * per_s).latency_s(10, 2) < float("inf")
    assert of_open(1.01 * per_s).latency_s(10, 2) == float("inf")
    assert of_open(1.01 * per_s, workers=2).latency_s(10, 2) < 0.5


@given(few=RATES, more=RATES, fixed=st.floats(0.0, 200.0), due=st.floats(0.01, 9.0), least=st.integers(1, 9))
def test_the_more_come_the_fewer_steps_there_are_for_each(
    few: float, more: float, fixed: float, due: float, least: int
) -> None:
    few, more = sorted((few, more))
    given_few, given_more, alone = (
        one.most_steps((least, 50), 2, due) for one in (of_open(few), of_open(more, fixed=fixed), of_open(0.0))
    )
    assert least <= given_more <= given_few <= alone <= 50
    assert alone in {least, 50} or alone * ALONE_S <= due < (alone + 1) * ALONE_S


def test_as_many_are_given_as_everybody_can_have() -> None:
    """Ten a second leave a tenth of a second to each: 13 forwards, which is six steps."""
    assert of_open(10.0).most_steps((1, 50), 2, 2.0) == 6
    assert of_open(10.0).most_steps((1, 50), 2, 0.2) == 4
    assert of_open(10.0).most_steps((9, 50), 2, 2.0) == 9, "the least is never kept from anybody"
    assert of_open(10.0).most_steps((1, 50), 2, float("inf")) == 6, "who waits for nobody may not crowd out the next"
    assert of_open(10.0, fixed=50.0).most_steps((1, 50), 2, 2.0) == 4, "those of fixed steps take theirs first"
    assert of_open(10.0, workers=4).most_steps((1, 50), 2, 2.0) == 22
