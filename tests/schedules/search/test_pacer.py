from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.moved import moved_cost
from schedules.search.newton import Descended
from schedules.search.pacer import search_pacer
from schedules.search.pacer_options import Outlay, PacerOptions
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher

QUICK = PacerOptions(screen=16, fit_seeds=32, first=24, most=42)


@pytest.fixture(scope="module")
def unseen(flow: MixtureFlow) -> SearchProblem:
    return mixture_problem(flow, 96, seed_offset=40_000)


def test_it_beats_every_stock_solver_on_unseen_seeds(
    calibration: SearchProblem, calibration_teacher: Teacher, unseen: SearchProblem
) -> None:
    target = run_teacher(unseen, 96, nodes=1).final

    def error(table) -> float:  # type: ignore[no-untyped-def]
        return pooled_error(roll_out(unseen, table).final, target, log=True)

    for steps, found in search_pacer(calibration_teacher, calibration, (5, 8), options=QUICK).items():
        assert len(found.sigmas) == steps + 1
        stock = min(
            error(compile_table(solver, grid, "flow"))
            for solver in ("euler", "ab2", "dpmpp-2m", "unipc-2")
            for grid in (uniform(steps), shifted(steps, 2.0), shifted(steps, 3.0))
        )
        assert error(found.table) < 0.05 * stock


def test_each_budget_is_told_with_what_it_cost(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    told: dict[int, Descended] = {}
    search_pacer(calibration_teacher, calibration, (3, 4), options=QUICK, found=told.__setitem__)
    assert list(told) == [3, 4]
    assert 0 < told[3].evaluations < told[4].evaluations


def test_one_step_is_possible(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    found = search_pacer(calibration_teacher, calibration, (1,), options=QUICK)[1]
    assert found.table.evaluations_count == 1
    assert found.sigmas[-1] == 0.0


def test_budgets_that_are_too_large_to_descend_still_have_fitted_rows(
    calibration: SearchProblem, calibration_teacher: Teacher, unseen: SearchProblem
) -> None:
    options = PacerOptions(screen=16, fit_seeds=32, largest=5)
    found = search_pacer(calibration_teacher, calibration, (6,), options=options)[6]
    target = run_teacher(unseen, 96, nodes=1).final
    stock = compile_table("unipc-2", shifted(6, 3.0), "flow")
    errors = [pooled_error(roll_out(unseen, table).final, target, log=True) for table in (found.table, stock)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("spend", [3_000, 12_000])
def test_what_is_spent_is_what_was_planned(
    calibration: SearchProblem, calibration_teacher: Teacher, spend: int
) -> None:
    told: dict[int, Descended] = {}
    options = PacerOptions(screen=4, fit_seeds=8, first=8, spend=spend, shifts=(2.0, 3.0))
    search_pacer(calibration_teacher, calibration, (8,), options=options, found=told.__setitem__)
    kept = 2 * calibration.seeds_count // 3
    planned = Outlay.of(options, 8, seeds=kept, validation=calibration.seeds_count - kept)
    assert 0.75 * planned.evaluations <= told[8].evaluations <= planned.evaluations  # some steps leave no sampler


def test_where_it_is_bearable_every_number_moves_once_more(
    calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    told: dict[int, Descended] = {}
    options = PacerOptions(screen=4, fit_seeds=8, first=8, starts=1, spend=40_000, shifts=(2.0, 3.0))
    kept = 2 * calibration.seeds_count // 3
    planned = Outlay.of(options, 8, seeds=kept, validation=calibration.seeds_count - kept)
    assert len(planned.again) == 2, "longer ones go on from it"
    assert min(planned.again) >= 40
    other = Outlay.of(replace(options, anchors=6), 8, seeds=kept, validation=calibration.seeds_count - kept)
    assert len(other.again) == 1
    search_pacer(calibration_teacher, calibration, (8,), options=options, found=told.__setitem__)
    assert 0.75 * planned.evaluations <= told[8].evaluations <= planned.evaluations
    once = replace(options, spend=other.evaluations - other.again[0] * moved_cost(8))
    assert Outlay.of(once, 8, seeds=kept, validation=calibration.seeds_count - kept).again == ()
    search_pacer(calibration_teacher, calibration, (8,), options=once, found=told.__setitem__)
    before = told[8].validation_error
    search_pacer(calibration_teacher, calibration, (8,), options=options, found=told.__setitem__)
    assert told[8].validation_error < before


@example(steps=1, spend=1192, seeds=29, validation=16)
@given(steps=st.integers(1, 40), spend=st.integers(0, 10**6), seeds=st.integers(1, 512), validation=st.integers(1, 128))
def test_an_outlay_keeps_to_what_may_be_spent(steps: int, spend: int, seeds: int, validation: int) -> None:
    options = PacerOptions(spend=spend)
    outlay = Outlay.of(options, steps, seeds=seeds, validation=validation)
    assert outlay.starts >= 1
    assert all(1 <= each <= seeds for each in outlay.rounds)
    least = replace(options, spend=0)
    most = max(spend, Outlay.of(least, steps, seeds=seeds, validation=validation).evaluations)
    assert outlay.evaluations <= (2 if steps == options.anchors else 1) * most
