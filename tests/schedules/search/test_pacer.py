import pytest

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.pacer import PacerOptions, search_pacer
from schedules.search.problem import SearchProblem
from schedules.search.refine import Refined, RefineOptions
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher

QUICK = PacerOptions(refine=RefineOptions(evaluations=30, log=True), screen=16)


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
        assert error(found.table) < 0.2 * stock


def test_each_budget_is_told_with_what_it_cost(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    told: dict[int, Refined] = {}
    search_pacer(calibration_teacher, calibration, (3, 4), options=QUICK, found=told.__setitem__)
    assert list(told) == [3, 4]
    assert all(result.evaluations <= 30 for result in told.values())


def test_one_step_is_possible(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    found = search_pacer(calibration_teacher, calibration, (1,), options=QUICK)[1]
    assert found.sigmas.tolist() == [1.0, 0.0]
