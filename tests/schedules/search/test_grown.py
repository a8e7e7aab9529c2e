"""A grown table draws what the smaller one does, until the descent makes something of its new evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.grown import grown, widest
from schedules.search.newton import Descended
from schedules.search.pacer import search_pacer
from schedules.search.pacer_options import Outlay, PacerOptions
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import Table, TableError


def table(steps: int, shift: float = 2.0) -> Table:
    return compile_table("unipc-2", shifted(steps, shift), "flow")


@pytest.mark.parametrize("times", [1, 4])
def test_it_draws_what_the_smaller_one_does(calibration: SearchProblem, times: int) -> None:
    more = table(5)
    for _ in range(times):
        more = grown(more, calibration.time_scale)
    assert more.evaluations_count == 5 + times
    assert (np.diff(more.t) < 0).all()
    torch.testing.assert_close(roll_out(calibration, more).final, roll_out(calibration, table(5)).final)


@given(steps=st.integers(1, 12), shift=st.floats(1.0, 5.0))
def test_the_widest_interval_is_halved_on_the_even_scale(steps: int, shift: float) -> None:
    smaller = table(steps, shift)
    place = widest(np.append(smaller.t / 1000, 0.0))
    more = grown(smaller, 1000.0)
    assert more.t[place + 1] < smaller.t[place]
    assert np.delete(more.t, place + 1) == pytest.approx(smaller.t)


def test_even_intervals_are_halved() -> None:
    assert grown(table(1), 1000.0).t / 1000 == pytest.approx(shifted(2, 2.0)[:-1])


def test_what_would_draw_otherwise_is_refused() -> None:
    skipped = replace(table(4), uncond=("skipped", "fresh", "fresh", "fresh"), w=np.array([0.0, 1.0, 1.0, 1.0]))
    with pytest.raises(TableError, match="guided on every row"):
        grown(skipped, 1000.0)


def test_each_step_more_than_is_descended_at_gains(
    flow: MixtureFlow, calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    options = PacerOptions(screen=16, fit_seeds=32, first=24, most=42, largest=3)
    found = search_pacer(calibration_teacher, calibration, (3, 4, 5), options=options)
    unseen = mixture_problem(flow, 96, seed_offset=40_000)
    target = run_teacher(unseen, 96, nodes=1).final
    errors = [pooled_error(roll_out(unseen, each.table).final, target, log=True) for each in found.values()]
    assert errors[2] < 0.9 * errors[1] < 0.9 * 0.9 * errors[0]


@pytest.mark.parametrize("switches", [{"anchors": 3}, {"largest": 4}, {"largest": 4, "rounds_until": 4}])
def test_what_goes_on_from_a_step_less_costs_what_was_planned_and_is_no_worse(
    calibration: SearchProblem, calibration_teacher: Teacher, switches: dict[str, int]
) -> None:
    options = replace(PacerOptions(screen=16, fit_seeds=32, first=24, most=42), **switches)
    told: dict[int, Descended] = {}
    search_pacer(calibration_teacher, calibration, (4, 5), options=options, found=told.__setitem__)
    kept = 2 * calibration.seeds_count // 3
    planned = Outlay.growing(options, 5, seeds=kept, validation=calibration.seeds_count - kept, given=1)
    assert 0.75 * planned.evaluations <= told[5].evaluations <= planned.evaluations
    assert told[5].evaluations < told[4].evaluations
    assert told[5].validation_error <= told[4].validation_error


def test_odd_budgets_grow_above_the_anchors_and_all_do_above_the_largest() -> None:
    grows = PacerOptions(anchors=8, largest=12).grows
    assert [steps for steps in range(1, 16) if grows(steps)] == [9, 11, 13, 14, 15]
