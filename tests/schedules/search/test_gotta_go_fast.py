from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.compile import compile_table
from schedules.grids import uniform
from schedules.search.analytic import MixtureFlow, mixture_problem, reference
from schedules.search.evaluate import pooled_error
from schedules.search.gotta_go_fast import Adaptive, AdaptiveOptions, draw_adaptively, gotta_go_fast
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out

BUDGETS = (3, 8, 24)


@pytest.fixture(scope="module")
def found(calibration: SearchProblem) -> Mapping[int, Adaptive]:
    return gotta_go_fast(calibration, BUDGETS)


def test_mean_evaluations_are_those_asked_for(found: Mapping[int, Adaptive]) -> None:
    for budget in BUDGETS:
        assert budget - 0.3 <= found[budget].mean_evaluations <= budget


def test_the_tolerance_holds_on_other_seeds(
    found: Mapping[int, Adaptive], flow: MixtureFlow, held_out: SearchProblem
) -> None:
    other = draw_adaptively(held_out, found[24].tolerance, found[24].options)
    assert other.mean_evaluations == pytest.approx(24, abs=1.5)
    assert other.evaluations.unique().numel() > 1  # seeds differ
    target = reference(flow, held_out.noise, steps=200)
    euler = roll_out(held_out, compile_table("euler", uniform(24), "flow")).final
    assert pooled_error(other.final, target, log=True) < 0.5 * pooled_error(euler, target, log=True)


def test_evaluations_are_those_of_the_network(flow: MixtureFlow) -> None:
    rows_called = torch.zeros(5, dtype=torch.int64)

    def counting(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        rows_called.index_add_(0, rows, torch.ones_like(rows))
        return flow(x, t, rows)

    problem = SearchProblem(mixture_problem(flow, 5).noise, counting)
    assert (draw_adaptively(problem, 0.05).evaluations == rows_called).all()


def test_seeds_do_not_feel_their_company(flow: MixtureFlow) -> None:
    together = draw_adaptively(mixture_problem(flow, 4), 0.05)
    alone = draw_adaptively(mixture_problem(flow, 1, seed_offset=2), 0.05)
    assert alone.evaluations[0] == together.evaluations[2]
    torch.testing.assert_close(alone.final[0], together.final[2])


def test_the_error_falls_with_the_tolerance(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 8)
    target = reference(flow, problem.noise, steps=200)
    draws = [draw_adaptively(problem, tolerance, AdaptiveOptions(end=1e-3)) for tolerance in (1e-1, 1e-2, 1e-3)]
    errors = [pooled_error(draw.final, target, log=True) for draw in draws]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert draws[0].mean_evaluations < draws[1].mean_evaluations < draws[2].mean_evaluations


def test_a_velocity_that_does_not_turn_is_drawn_in_two_steps() -> None:
    problem = SearchProblem(torch.ones(3, 2), lambda x, t, rows: 0 * x + 2)
    draw = draw_adaptively(problem, 1e-3)
    assert draw.evaluations.tolist() == [5, 5, 5]
    np.testing.assert_allclose(draw.final, -1.0, atol=1e-6)


def test_a_velocity_that_is_not_finite_still_ends() -> None:
    problem = SearchProblem(torch.ones(2, 2), lambda x, t, rows: x * torch.nan)
    draw = draw_adaptively(problem, 1.0, AdaptiveOptions(end=0.95, first_step=0.05))
    assert draw.final.isnan().all()


def test_what_cannot_be_is_refused(calibration: SearchProblem) -> None:
    with pytest.raises(ValueError, match="at least 3"):
        gotta_go_fast(calibration, [2])
    with pytest.raises(ValueError, match="tolerance: must be > 0"):
        draw_adaptively(calibration, 0.0)
    with pytest.raises(ValueError, match="first_step, end"):
        AdaptiveOptions(first_step=1.0)
