import numpy as np
import pytest
import torch

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.analytic import gaussian_mixture, mixture_problem
from schedules.search.gotta_go_fast import gotta_go_fast
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.table import Table
from workers.lab.candidate import AdaptiveChoice, OwnPaths, draw, pack_all, packed, unpack_all

SAMPLER = Sampler.compiled("heun", shifted(3, 1.7))


def guided(problem: SearchProblem) -> SearchProblem:
    other = gaussian_mixture(seed=1)
    return SearchProblem(problem.noise, problem.conditional, other, guidance_scale=2.0)


def test_what_is_written_is_read_back_exactly() -> None:
    choice = AdaptiveChoice(0.1 + 0.2, 0.95)
    own = OwnPaths(shifted(4, 1.7), np.array([[0, 1, 4], [0, 3, 4]]))
    found = unpack_all(pack_all({2: own, 5: SAMPLER, 7: choice}))
    assert packed(found[2]) == packed(own)
    assert packed(found[5]) == packed(SAMPLER)
    assert found[7] == choice


def test_unconditional_outputs_cost_only_where_they_are_made() -> None:
    problem = mixture_problem(gaussian_mixture(), 3)
    plain = compile_table("euler", shifted(4, 2.0), "flow")
    thrifty = Table(plain.t, plain.c, [1, 1, 0, 1], ("fresh", "reused", "skipped", "fresh"), plain.X)  # type: ignore[arg-type]
    sampler = Sampler(shifted(4, 2.0), thrifty)
    assert draw(problem, sampler).evaluations == 4
    assert draw(guided(problem), sampler).evaluations == 6
    assert draw(guided(problem), Sampler(shifted(4, 2.0), plain)).evaluations == 8


def test_an_adaptive_choice_draws_what_its_search_drew() -> None:
    problem = mixture_problem(gaussian_mixture(), 6)
    found = gotta_go_fast(problem, (6,))[6]
    drawn = draw(problem, AdaptiveChoice.of(found))
    torch.testing.assert_close(drawn.final, found.final)
    assert drawn.evaluations == found.mean_evaluations


def test_own_paths_draw_each_seed_by_its_own() -> None:
    problem = guided(mixture_problem(gaussian_mixture(), 2))
    grid = shifted(6, 2.0)
    drawn = draw(problem, OwnPaths(grid, np.array([[0, 2, 3, 6], [0, 1, 4, 6]])))
    for seed, nodes in enumerate(([0, 2, 3, 6], [0, 1, 4, 6])):
        alone = draw(problem, Sampler.compiled("euler", grid[nodes]))
        torch.testing.assert_close(drawn.final[seed], alone.final[seed])
        assert drawn.evaluations == alone.evaluations == 6


def test_own_paths_are_of_their_seeds_alone() -> None:
    with pytest.raises(ValueError, match="those of 2 seeds, there are 3"):
        draw(mixture_problem(gaussian_mixture(), 3), OwnPaths(shifted(2, 2.0), np.array([[0, 2], [0, 2]])))
