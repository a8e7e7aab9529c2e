from itertools import combinations

import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import shifted, uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.cma_es import cma_es
from schedules.search.evaluate import pooled_error
from schedules.search.evolution import EvolutionOptions, Fitness, _Evolution, auto_diffusion
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher

SMALL = EvolutionOptions(population=30, generations=4, parents=8, mutants=14, crosses=10)


def error(problem: SearchProblem, teacher: Teacher, sampler: Sampler) -> float:
    return pooled_error(roll_out(problem, sampler.table).final, teacher.final)


def test_evolved_grids_beat_the_stock_ones_on_held_out_seeds(
    calibration: SearchProblem, calibration_teacher: Teacher, held_out: SearchProblem, held_out_teacher: Teacher
) -> None:
    for solver, steps in (("dpmpp-2m", 4), ("euler", 3)):
        found = auto_diffusion(calibration_teacher, calibration, [steps], solver=solver, seeds=32, options=SMALL)[steps]
        for grid in (uniform(steps), shifted(steps, 3.0)):
            bar = error(held_out, held_out_teacher, Sampler.compiled(solver, grid))
            assert error(held_out, held_out_teacher, found) < bar


def test_cma_es_beats_the_stock_grids_on_held_out_seeds(
    calibration: SearchProblem, calibration_teacher: Teacher, held_out: SearchProblem, held_out_teacher: Teacher
) -> None:
    found = cma_es(calibration_teacher, calibration, [4], solver="dpmpp-2m", candidates=120, seeds=32)[4]
    for grid in (uniform(4), shifted(4, 3.0)):
        bar = error(held_out, held_out_teacher, Sampler.compiled("dpmpp-2m", grid))
        assert error(held_out, held_out_teacher, found) < bar


def test_a_small_graph_is_searched_to_its_best_path(flow: MixtureFlow, small_teacher: Teacher) -> None:
    problem = mixture_problem(flow, 8)
    errors = {
        inner: error(problem, small_teacher, Sampler.compiled("euler", small_teacher.sigmas[[0, *inner, 12]]))
        for inner in combinations(range(1, 12), 2)
    }
    found = auto_diffusion(small_teacher, problem, [3], seeds=8)[3]
    assert tuple(np.round((1 - found.sigmas[1:-1]) * 12)) == min(errors, key=errors.__getitem__)


def test_fitness_is_the_rollouts_error_in_the_order_asked(flow: MixtureFlow, small_teacher: Teacher) -> None:
    problem = mixture_problem(flow, 8)
    grids = [shifted(4, 3.0), uniform(4), shifted(4, 0.5)]
    errors = Fitness(small_teacher, problem, "ab2", log=False)(grids, seeds=5)
    for sigmas, found in zip(grids, errors, strict=True):
        final = roll_out(problem.take(5), compile_table("ab2", sigmas, "flow")).final
        assert found == pytest.approx(pooled_error(final, small_teacher.final[:5]))


def test_fitness_goes_by_what_the_view_shows(flow: MixtureFlow, small_teacher: Teacher) -> None:
    problem = mixture_problem(flow, 8)
    split = Split(problem, small_teacher.final[:, :3], lambda final: final[:, :3])
    found = Fitness(small_teacher, problem, "ab2", log=False, calibration=split)([uniform(4)], seeds=5)
    final = roll_out(problem.take(5), compile_table("ab2", uniform(4), "flow")).final
    assert found == [pytest.approx(pooled_error(final[:, :3], small_teacher.final[:5, :3]))]


def test_operators_make_paths_and_keep_what_both_parents_have() -> None:
    evolution = _Evolution(uniform(20), 6, EvolutionOptions(), seed=1)
    parents = (0, 2, 5, 9, 13, 17, 20), (0, 2, 6, 9, 14, 17, 20)
    for child in [evolution._cross(*parents) for _ in range(20)]:
        assert {2, 9, 17} < set(child) <= {*parents[0], *parents[1]}
    made = [evolution._mutant(parents[0], 0.25) for _ in range(200)] + evolution._first()
    for path in made:
        assert list(path) == sorted(set(path))
        assert (len(path), path[0], path[-1]) == (7, 0, 20)
    kept = np.mean([len(set(path) & set(parents[0][1:-1])) for path in made[:200]])
    assert 3.7 < kept < 4.6  # of 5: a quarter is replaced, at times by itself


def test_one_step_leaves_nothing_to_choose(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    for method in (auto_diffusion, cma_es):
        assert method(calibration_teacher, calibration, [1])[1].sigmas.tolist() == [1.0, 0.0]


def test_equal_seeds_give_equal_grids(flow: MixtureFlow, small_teacher: Teacher) -> None:
    problem = mixture_problem(flow, 8)
    grids = [cma_es(small_teacher, problem, [3], candidates=20, seed=seed)[3].sigmas for seed in (0, 0, 1)]
    assert (grids[0] == grids[1]).all()
    assert (grids[0] != grids[2]).any()


@pytest.mark.parametrize("bad", [{"population": 0}, {"mutants": 40}, {"crosses": -1}])
def test_impossible_options_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        EvolutionOptions(**bad)


def test_a_budget_beyond_the_grid_is_refused(flow: MixtureFlow, small_teacher: Teacher) -> None:
    with pytest.raises(ValueError, match=r"must be in 1\.\.12"):
        auto_diffusion(small_teacher, mixture_problem(flow, 8), [13])
