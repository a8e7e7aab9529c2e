from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.adjoint import pull_back
from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem
from schedules.search.problem import Field, SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.table_numbers import TableNumbers
from schedules.table import Table, UncondMode

STEP = 1e-6
MODES: tuple[UncondMode, ...] = ("fresh", "reused", "skipped", "reused", "fresh")


def renormalised(conditional: Tensor, unconditional: Tensor, weight: float | Tensor) -> Tensor:
    """Guidance whose result has the conditional output's norm, as some families have it: not linear in anything."""
    guided = unconditional + weight * (conditional - unconditional)
    return guided * (conditional.norm(dim=1, keepdim=True) / guided.norm(dim=1, keepdim=True))


def exact(flow: MixtureFlow) -> Field:
    return lambda x, t, rows: flow.velocity(x, t.double() / 1000)


@pytest.fixture(scope="module")
def problem(flow: MixtureFlow) -> SearchProblem:
    """In float64, so that small moves have exact slopes."""
    return SearchProblem(
        mixture_problem(flow, 6).noise.double(),
        exact(flow),
        exact(gaussian_mixture(seed=4)),
        guidance_scale=1.5,
        combine=renormalised,
    )


def table_of(modes: tuple[UncondMode, ...]) -> Table:
    weights = np.where([mode == "skipped" for mode in modes], 0.0, np.linspace(0.7, 1.2, len(modes)))
    return replace(compile_table("ab2", shifted(len(modes), 2.0), "flow"), w=weights, uncond=modes)


@pytest.mark.parametrize("guided", [True, False])
def test_it_is_what_moving_each_number_gives(problem: SearchProblem, guided: bool) -> None:
    shown = problem if guided else replace(problem, unconditional=None, guidance_scale=1.0)
    numbers = TableNumbers.of(table_of(MODES), guided=guided, time_scale=1000.0, timed=False)
    drawn = roll_out(shown, numbers.table)
    directions = torch.randn((2, *drawn.final.shape), generator=torch.Generator().manual_seed(0)).double()
    slopes = pull_back(shown, numbers, drawn, directions)
    assert slopes.shape == (2, 6, len(numbers.places))
    for place, slope in zip(numbers.places, slopes.unbind(-1), strict=True):
        moved = (roll_out(shown, numbers.nudged(place, STEP)).final - drawn.final) / STEP
        expected = (directions * moved).flatten(2).sum(-1)
        assert (slope - expected).abs().max() <= 0.01 * expected.abs().max(), place


def test_times_are_refused(problem: SearchProblem) -> None:
    drawn = roll_out(problem, table_of(MODES))
    numbers = TableNumbers.of(drawn.table, guided=True, time_scale=1000.0)
    with pytest.raises(ValueError, match="times"):
        pull_back(problem, numbers, drawn, torch.ones_like(drawn.final)[None])
