"""What the methods that take at most one pass of the network have in common."""

import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import uniform
from schedules.search.ays import ays
from schedules.search.boss import boss
from schedules.search.curvature import curvature
from schedules.search.dmn import dmn
from schedules.search.evaluate import pooled_error
from schedules.search.gits import gits
from schedules.search.method import Method, Sampler
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher

METHODS: tuple[Method, ...] = (ays, boss, curvature, dmn, gits)


def error(problem: SearchProblem, teacher: Teacher, sampler: Sampler) -> float:
    return pooled_error(roll_out(problem, sampler.table).final, teacher.final)


@pytest.mark.parametrize("method", METHODS)
def test_every_budget_gets_a_falling_grid_from_pure_noise_to_0(
    method: Method, calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    found = method(calibration_teacher.take(8), calibration.take(8), (1, 2, 5, 12))
    assert list(found) == [1, 2, 5, 12]
    for steps, sampler in found.items():
        assert sampler.sigmas.shape == (steps + 1,)
        assert (sampler.sigmas[0], sampler.sigmas[-1]) == (1.0, 0.0)
        assert (np.diff(sampler.sigmas) < 0).all()
        assert sampler.table.evaluations_count == steps


@pytest.mark.parametrize("method", METHODS)
def test_solver_is_what_was_asked_for(method: Method, calibration: SearchProblem, small_teacher: Teacher) -> None:
    sampler = method(small_teacher, calibration.take(8), (4,), solver="unipc-2")[4]  # type: ignore[call-arg]
    assert sampler.table.difference(compile_table("unipc-2", sampler.sigmas, "flow")) is None


@pytest.mark.parametrize(
    ("method", "budgets"),
    # a curve has quantiles for any budget, a grid only for so many
    [*((method, (0, 4)) for method in METHODS), (ays, (200,)), (boss, (13,)), (gits, (13,))],
)
def test_impossible_budget_is_refused(
    method: Method, budgets: tuple[int, ...], calibration: SearchProblem, small_teacher: Teacher
) -> None:
    with pytest.raises(ValueError, match="must be"):
        method(small_teacher, calibration.take(8), budgets)


@pytest.mark.parametrize(
    ("method", "solver", "budgets"),
    [
        (boss, "euler", (4, 6, 8)),
        (curvature, "euler", (4, 6, 8)),
        (dmn, "dpmpp-2m", (4, 6, 8)),
        (gits, "ipndm", (4,)),
    ],
)
def test_beats_the_uniform_grid_on_seeds_it_did_not_see(
    method: Method,
    solver: str,
    budgets: tuple[int, ...],
    calibration: SearchProblem,
    calibration_teacher: Teacher,
    held_out: SearchProblem,
    held_out_teacher: Teacher,
) -> None:
    found = method(calibration_teacher, calibration, budgets)
    for steps in budgets:
        plain = Sampler.compiled(solver, uniform(steps))
        assert error(held_out, held_out_teacher, found[steps]) < 0.9 * error(held_out, held_out_teacher, plain)
