import numpy as np
import pytest
import torch

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error, seed_errors
from schedules.search.fit import FitOptions, fit_rows, robust_weights
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher


@pytest.mark.parametrize("scales_state", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_endless_ridge_leaves_the_formula(
    calibration: SearchProblem, calibration_teacher: Teacher, order: int, scales_state: bool
) -> None:
    options = FitOptions(order=order, ridge=1e12, scales_state=scales_state)
    fitted = fit_rows(calibration, calibration_teacher, shifted(5, 2.0), options)
    formula = compile_table({1: "euler", 2: "ab2", 3: "ab3"}[order], shifted(5, 2.0), "flow")
    assert fitted.table.difference(formula, tolerance=1e-6) is None


def test_the_rollout_is_what_the_table_draws(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    fitted = fit_rows(calibration, calibration_teacher, uniform(6))
    again = roll_out(calibration, fitted.table)
    torch.testing.assert_close(fitted.final, again.final, rtol=0, atol=1e-5)
    assert fitted.evaluated == 6


@pytest.mark.parametrize("steps", [4, 8])
def test_fitted_rows_beat_every_formula_of_their_order_on_unseen_seeds(
    flow: MixtureFlow, calibration: SearchProblem, calibration_teacher: Teacher, steps: int
) -> None:
    unseen = mixture_problem(flow, 96, seed_offset=40_000)
    target = run_teacher(unseen, 96, nodes=1).final
    grid = uniform(steps)
    fitted = fit_rows(calibration, calibration_teacher, grid).table
    error = pooled_error(roll_out(unseen, fitted).final, target, log=True)
    for solver in ("euler", "ab2", "ab3", "dpmpp-2m", "unipc-2"):
        assert error < 0.5 * pooled_error(roll_out(unseen, compile_table(solver, grid, "flow")).final, target, log=True)


def test_seeds_that_count_more_are_fitted_better(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    weights = np.full(calibration.seeds_count, 1e-6)
    weights[:4] = 1.0
    options = FitOptions(ridge=1e-8)
    errors = [
        seed_errors(fit_rows(calibration, calibration_teacher, uniform(1), options, w).final, calibration_teacher.final)
        for w in (None, weights)
    ]
    assert errors[1][:4].mean() < errors[0][:4].mean()


def test_robust_weights_fall_with_the_error_and_have_mean_one() -> None:
    weights = robust_weights(np.array([0.0, 1e-3, 1.0]), floor=1e-3)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(2 * weights[1])
    assert weights[2] < 0.01 * weights[0]


@pytest.mark.parametrize(("field", "value"), [("order", 0), ("ridge", -1.0)])
def test_impossible_switches_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field}: must be"):
        FitOptions(**{field: value})  # type: ignore[arg-type]
