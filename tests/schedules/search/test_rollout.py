from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem
from schedules.search.oss import euler_rollout
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.table import Table, common_rows


@pytest.fixture
def guided(flow: MixtureFlow) -> SearchProblem:
    negative = gaussian_mixture(seed=4)
    return replace(mixture_problem(flow, 6), unconditional=negative, guidance_scale=2.0)


def test_euler_table_is_the_plain_euler_loop(calibration: SearchProblem) -> None:
    table = compile_table("euler", shifted(9, 3.0), "flow")
    torch.testing.assert_close(roll_out(calibration, table).final, euler_rollout(calibration, shifted(9, 3.0)))


def test_guidance_follows_the_table(guided: SearchProblem) -> None:
    euler = compile_table("euler", uniform(3), "flow")
    modes = ("skipped", "fresh", "reused")
    weights = np.array([0.0, 1.0, 0.5])
    table = Table(euler.t, euler.c, weights, modes, euler.X)  # type: ignore[arg-type]
    torch.testing.assert_close(roll_out(guided, table).final, _by_hand(guided))


def _by_hand(problem: SearchProblem) -> Tensor:
    x, rows = problem.noise, torch.arange(problem.seeds_count)
    assert problem.unconditional is not None
    negative = torch.zeros_like(x)
    for k, weight in enumerate((1.0, 2.0, 1.5)):  # g = 1 + w (G - 1)
        t = torch.full((len(x),), 1000.0 * (3 - k) / 3)
        conditional = problem.conditional(x, t, rows)
        if k == 1:
            negative = problem.unconditional(x, t, rows)
        x = x - (negative + weight * (conditional - negative)) / 3
    return x


def test_velocity_is_guided(guided: SearchProblem) -> None:
    rows, t = torch.arange(6), torch.full((6,), 400.0)
    assert guided.unconditional is not None
    both = [field(guided.noise, t, rows) for field in (guided.conditional, guided.unconditional)]
    torch.testing.assert_close(guided.velocity(guided.noise, 0.4), 2 * both[0] - both[1])


def test_velocity_at_several_levels_equals_one_by_one(calibration: SearchProblem) -> None:
    small = replace(calibration, batch=50)
    stacked = small.velocity(torch.stack([small.noise, 2 * small.noise]), [0.9, 0.3])
    torch.testing.assert_close(stacked[0], small.velocity(small.noise, 0.9))
    torch.testing.assert_close(stacked[1], small.velocity(2 * small.noise, 0.3))


def test_calls_never_exceed_the_batch_and_name_their_seeds(calibration: SearchProblem) -> None:
    seen: list[list[int]] = []

    def spying(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        seen.append(rows.tolist())
        return calibration.conditional(x, t, rows)

    replace(calibration.take(5), conditional=spying, batch=4).velocity(calibration.noise[:5], 0.5)
    assert seen == [[0, 1, 2, 3], [4]]


def test_common_rows_are_taken_over(calibration: SearchProblem) -> None:
    first = compile_table("ab2", np.array([1.0, 0.8, 0.5, 0.2, 0.0]), "flow")
    second = compile_table("ab2", np.array([1.0, 0.8, 0.5, 0.3, 0.0]), "flow")
    assert common_rows(second, first) == 3
    later = roll_out(calibration, second, after=roll_out(calibration, first))
    assert later.evaluated == 1
    torch.testing.assert_close(later.final, roll_out(calibration, second).final)


def test_further_base_latents_are_refused(calibration: SearchProblem) -> None:
    euler = compile_table("euler", uniform(1), "flow")
    table = Table(euler.t, euler.c, euler.w, euler.uncond, np.zeros((2, 3)), base=("noise", "draw"))
    with pytest.raises(ValueError, match="noise only"):
        roll_out(calibration, table)


def test_guidance_without_an_unconditional_branch_is_refused(calibration: SearchProblem) -> None:
    with pytest.raises(ValueError, match="guidance scale 3"):
        replace(calibration, guidance_scale=3.0)


@pytest.mark.parametrize("count", [0, 65])
def test_taking_more_seeds_than_there_are_is_refused(calibration: SearchProblem, count: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.64"):
        calibration.take(count)
