import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.descent import DescentOptions
from schedules.search.evaluate import pooled_error
from schedules.search.ld3 import ld3
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.s4s import s4s
from schedules.search.teacher import Teacher

STEPS = 5
SMALL = DescentOptions(seeds=32)


def error(problem: SearchProblem, teacher: Teacher, sampler: Sampler) -> float:
    return pooled_error(roll_out(problem, sampler.table).final, teacher.final, log=True)


@pytest.mark.parametrize("alternate", [False, True])
def test_learned_coefficients_beat_adams_and_bashforths_on_held_out_seeds(
    calibration: SearchProblem,
    calibration_teacher: Teacher,
    held_out: SearchProblem,
    held_out_teacher: Teacher,
    alternate: bool,
) -> None:
    found = s4s(calibration_teacher, calibration, [STEPS], alternate=alternate, rounds=6, options=SMALL)[STEPS]
    adams = Sampler.compiled("ab2", shifted(STEPS, 3.0))
    bar = error(held_out, held_out_teacher, adams)
    assert error(held_out, held_out_teacher, found) < (0.2 if alternate else 0.6) * bar
    assert np.allclose(found.sigmas, adams.sigmas) != alternate
    assert np.allclose(found.table.t, 1000 * found.sigmas[:-1]) != alternate


@pytest.mark.parametrize("order", [1, 2, None])
def test_without_rounds_s4s_is_adams_and_bashforth(
    calibration: SearchProblem, calibration_teacher: Teacher, order: int | None
) -> None:
    found = s4s(calibration_teacher, calibration, [4], order=order, rounds=0, grid=uniform)[4]
    solver = "euler" if order == 1 else "ab2"
    assert found.table.difference(compile_table(solver, uniform(4), "flow"), tolerance=1e-12) is None


def test_an_order_uses_no_older_outputs(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    rows = s4s(calibration_teacher, calibration, [STEPS], rounds=1, order=2, options=SMALL)[STEPS].table.X
    moves = np.diff(rows[:, 1:], axis=0)  # step k uses the outputs k and k - 1
    assert (moves[np.tril_indices(STEPS, -2)] == 0).all()
    assert (rows[:, 0] == 1).all()


@pytest.mark.parametrize("solver", ["euler", "dpmpp-2m"])
def test_learned_times_beat_those_they_began_with_on_held_out_seeds(
    calibration: SearchProblem,
    calibration_teacher: Teacher,
    held_out: SearchProblem,
    held_out_teacher: Teacher,
    solver: str,
) -> None:
    found = ld3(calibration_teacher, calibration, [STEPS], solver=solver, rounds=(2, 3), options=SMALL)[STEPS]
    for grid in (shifted(STEPS, 3.0), uniform(STEPS)):
        bar = error(held_out, held_out_teacher, Sampler.compiled(solver, grid))
        assert error(held_out, held_out_teacher, found) < 0.6 * bar


def test_coupled_times_give_an_ordinary_solver(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    found = ld3(calibration_teacher, calibration, [3], decoupled=False, rounds=(1, 1), options=SMALL)[3]
    assert (found.sigmas != shifted(3, 3.0)).any()
    compiled = compile_table("dpmpp-2m", found.sigmas, "flow")
    assert found.table.difference(compiled, tolerance=1e-12) is None


def test_decoupled_times_stay_within_half_the_least_gap(
    calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    found = ld3(calibration_teacher, calibration, [4], rounds=(0, 2), rate=0.1, options=SMALL)[4]
    away = np.abs(found.table.t / 1000 - found.sigmas[:-1])
    assert 0 < away.max() <= -np.diff(found.sigmas).max() / 2 + 1e-12


def test_an_order_below_1_is_refused(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    with pytest.raises(ValueError, match="order: must be at least 1"):
        s4s(calibration_teacher, calibration, [3], order=0)
