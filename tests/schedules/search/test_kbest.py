from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.kbest import kbest
from schedules.search.method import Sampler
from schedules.search.oss import OssOptions
from schedules.search.oss_pooled import oss_pooled
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher
from schedules.table import Table

BUDGETS = (2, 4, 7)


def error(problem: SearchProblem, teacher: Teacher, table: Table) -> float:
    return pooled_error(roll_out(problem, table).final, teacher.final)


@pytest.fixture(scope="module")
def euler(calibration: SearchProblem, calibration_teacher: Teacher) -> Mapping[int, Sampler]:
    return kbest(calibration_teacher, calibration, BUDGETS, seeds=64)


@pytest.mark.parametrize("solver", ["euler", "ab2", "dpmpp-2m"])
def test_with_a_full_beam_equal_to_brute_force(flow: MixtureFlow, small_teacher: Teacher, solver: str) -> None:
    problem = mixture_problem(flow, 8)
    errors = {
        inner: error(problem, small_teacher, compile_table(solver, small_teacher.sigmas[[0, *inner, 12]], "flow"))
        for inner in combinations(range(1, 12), 2)
    }
    found = kbest(small_teacher, problem, [3], width=12, solver=solver)[3]
    assert tuple(np.round((1 - found.sigmas[1:-1]) * 12)) == min(errors, key=errors.__getitem__)


@pytest.mark.parametrize("steps", BUDGETS)
def test_paths_beat_the_uniform_grid_on_held_out_seeds(
    euler: Mapping[int, Sampler], held_out: SearchProblem, held_out_teacher: Teacher, steps: int
) -> None:
    table = euler[steps].table
    assert table.evaluations_count == steps
    assert error(held_out, held_out_teacher, table) < error(
        held_out, held_out_teacher, compile_table("euler", uniform(steps), "flow")
    )


def test_a_beam_is_at_least_as_good_as_oss_on_the_calibration_seeds(
    euler: Mapping[int, Sampler], calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    of_oss = oss_pooled(calibration_teacher, calibration, BUDGETS)
    for steps in BUDGETS:
        pair = (euler[steps].table, of_oss[steps].table)
        beam, single = (error(calibration, calibration_teacher, table) for table in pair)
        assert beam <= single * 1.001


def test_a_solvers_own_path_beats_another_solvers(
    euler: Mapping[int, Sampler],
    calibration: SearchProblem,
    calibration_teacher: Teacher,
    held_out: SearchProblem,
    held_out_teacher: Teacher,
) -> None:
    own = kbest(calibration_teacher, calibration, [7], solver="ab2", width=2)[7].table
    borrowed = compile_table("ab2", euler[7].sigmas, "flow")
    stock = compile_table("ab2", shifted(7, 3.0), "flow")
    of_own, *others = (
        pooled_error(roll_out(held_out, table).final, held_out_teacher.final, log=True)
        for table in (own, borrowed, stock)
    )
    assert of_own < 0.8 * min(others)


def test_oss_as_a_method_takes_its_options(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    free = oss_pooled(calibration_teacher, calibration, [2], options=OssOptions(free_start=True))[2]
    assert free.sigmas[0] < 1
    assert (free.table.t == 1000 * free.sigmas[:-1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"width": 0}, "width: must be"), ({"solver": "heun"}, "must be one of"), ({"budgets": [49]}, r"in 1\.\.48")],
)
def test_what_cannot_be_is_refused(
    calibration: SearchProblem, calibration_teacher: Teacher, change: dict[str, object], message: str
) -> None:
    arguments = {"budgets": [3], **change}
    with pytest.raises(ValueError, match=message):
        kbest(calibration_teacher, calibration, **arguments)  # type: ignore[arg-type]
