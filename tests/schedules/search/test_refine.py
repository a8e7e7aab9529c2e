from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.interpolate import resample
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error
from schedules.search.problem import SearchProblem
from schedules.search.refine import RefineOptions, Split, cosine_modes, grid_errors, refine
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import FloatArray, Table


@pytest.fixture(scope="module")
def calibration_split(calibration: SearchProblem, calibration_teacher: Teacher) -> Split:
    return Split(calibration, calibration_teacher.final)


@pytest.fixture(scope="module")
def validation_split(flow: MixtureFlow) -> Split:
    problem = mixture_problem(flow, 64, seed_offset=5_000)
    return Split(problem, run_teacher(problem, 96, nodes=1).final)


def compiler(solver: str):  # type: ignore[no-untyped-def]
    return partial(compile_table, solver, prediction="flow")


def error_of(split: Split, table: Table) -> float:
    return pooled_error(roll_out(split.problem, table).final, split.target)


@pytest.mark.parametrize("solver", ["euler", "ab2", "dpmpp-2m", "unipc-2"])
def test_refinement_lowers_the_final_error_of_any_solver(
    calibration_split: Split, validation_split: Split, solver: str
) -> None:
    compile_ = compiler(solver)
    found = refine(uniform(5), compile_, calibration_split, validation_split)
    assert found.validation_error < error_of(validation_split, compile_(uniform(5)))
    assert found.validation_error == pytest.approx(error_of(validation_split, compile_(found.sigmas)))
    assert found.calibration_error == pytest.approx(error_of(calibration_split, compile_(found.sigmas)))
    assert (np.diff(found.sigmas) < 0).all()
    assert (found.sigmas[0], found.sigmas[-1]) == (1.0, 0.0)


def test_moves_that_only_fit_the_calibration_seeds_are_not_returned(
    flow: MixtureFlow, calibration_split: Split, validation_split: Split
) -> None:
    # The calibration targets are another grid's results, so that every gain on them is a loss on the validation seeds.
    compile_ = compiler("euler")
    wrong = Split(calibration_split.problem, roll_out(calibration_split.problem, compile_(shifted(4, 0.2))).final)
    best = refine(shifted(4, 2.0), compile_, calibration_split, validation_split).sigmas
    assert (refine(best, compile_, wrong, validation_split).sigmas == best).all()


def test_errors_are_compared_where_the_view_looks(calibration_split: Split) -> None:
    final = calibration_split.target.clone()
    final[:, 5:] += 1.0
    looking = replace(calibration_split, view=lambda x: x[:, :5], target=calibration_split.target[:, :5])
    assert looking.error(final, log=False) == 0.0
    assert looking.error(final, log=True) == pytest.approx(1e-12)
    assert replace(looking, floor=0.25).error(final, log=True) == pytest.approx(0.25)
    assert calibration_split.error(final, log=False) == pytest.approx(27 / 32)


def test_the_evaluations_are_bounded(calibration_split: Split, validation_split: Split) -> None:
    found = refine(uniform(4), compiler("euler"), calibration_split, validation_split, RefineOptions(evaluations=30))
    assert found.evaluations <= 30


def test_free_start_leaves_pure_noise(calibration_split: Split, validation_split: Split) -> None:
    options = RefineOptions(free_start=True)
    found = refine(uniform(2), compiler("euler"), calibration_split, validation_split, options)
    fixed = refine(uniform(2), compiler("euler"), calibration_split, validation_split)
    assert found.sigmas[0] < 1.0
    assert found.validation_error < fixed.validation_error


def test_one_step_has_nothing_to_move(calibration_split: Split, validation_split: Split) -> None:
    assert refine(uniform(1), compiler("euler"), calibration_split, validation_split).sigmas.tolist() == [1.0, 0.0]


def test_grid_errors_are_those_of_their_rollouts(calibration_split: Split) -> None:
    compile_ = compiler("euler")
    grids = [shifted(6, 10.0), uniform(6), shifted(6, 0.1)]
    errors = [error_of(calibration_split, compile_(grid)) for grid in grids]
    assert grid_errors(calibration_split, grids, compile_) == pytest.approx(errors)


def test_modes_span_all_grids_and_keep_the_sum() -> None:
    modes = cosine_modes(5, 10)
    assert modes.shape == (4, 5)
    np.testing.assert_allclose(modes @ modes.T, 5 * np.eye(4), atol=1e-12)
    np.testing.assert_allclose(modes.sum(1), 0, atol=1e-12)
    assert cosine_modes(1, 6).shape == (0, 1)


def test_resample_keeps_the_curve() -> None:
    np.testing.assert_allclose(resample(uniform(4), 8), uniform(8), atol=1e-12)
    np.testing.assert_allclose(resample(shifted(6, 3.0), 6), shifted(6, 3.0), atol=1e-12)
    np.testing.assert_allclose(resample(shifted(8, 3.0), 16)[::2], shifted(8, 3.0), atol=0.02)


@pytest.mark.parametrize("sigmas", [[1.0, 1.0, 0.0], [1.0, 0.5, 0.1]])
def test_grids_that_do_not_fall_to_zero_are_refused(
    calibration_split: Split, validation_split: Split, sigmas: list[float]
) -> None:
    grid: FloatArray = np.array(sigmas)
    with pytest.raises(ValueError, match="fall strictly and end in 0"):
        refine(grid, compiler("euler"), calibration_split, validation_split)
