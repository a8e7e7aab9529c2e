from dataclasses import replace
from statistics import median_low

import numpy as np
import pytest

from schedules.compile import compile_table
from schedules.grids import uniform
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.evaluate import pooled_error, seed_errors
from schedules.search.oss import OssOptions, OssPath, euler_rollout, fill, search_paths
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import FloatArray

BUDGET = 8


@pytest.fixture(scope="module")
def paths(calibration: SearchProblem, calibration_teacher: Teacher) -> tuple[OssPath, ...]:
    return search_paths(calibration, calibration_teacher, BUDGET)


def held_out_error(problem: SearchProblem, teacher: Teacher, sigmas: FloatArray) -> float:
    return float(seed_errors(euler_rollout(problem, sigmas), teacher.final).mean())


def test_every_budget_comes_from_one_sweep(paths: tuple[OssPath, ...], calibration_teacher: Teacher) -> None:
    assert [len(path.sigmas) - 1 for path in paths] == list(range(1, BUDGET + 1))
    for path in paths:
        assert (np.diff(path.sigmas) < 0).all()
        assert (path.sigmas[0], path.sigmas[-1]) == (1.0, 0.0)
        assert (path.sigmas == calibration_teacher.sigmas[list(path.nodes)]).all()


def test_more_steps_never_cost_more_on_the_calibration_seeds(paths: tuple[OssPath, ...]) -> None:
    errors = [path.error for path in paths]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    "options", [OssOptions(), OssOptions(cost="x"), OssOptions(free_start=True), OssOptions(log=True)]
)
def test_reported_error_is_that_of_the_compiled_table(
    calibration: SearchProblem, calibration_teacher: Teacher, options: OssOptions
) -> None:
    for path in search_paths(calibration, calibration_teacher, 5, options):
        final = roll_out(calibration, compile_table("euler", path.sigmas, "flow")).final
        assert path.error == pytest.approx(pooled_error(final, calibration_teacher.final, log=options.log), rel=1e-3)


@pytest.mark.parametrize("steps", [2, 4, 6, 8])
def test_pooled_paths_beat_the_uniform_grid_on_held_out_seeds(
    paths: tuple[OssPath, ...], held_out: SearchProblem, held_out_teacher: Teacher, steps: int
) -> None:
    searched = held_out_error(held_out, held_out_teacher, paths[steps - 1].sigmas)
    assert searched < held_out_error(held_out, held_out_teacher, uniform(steps))


def test_pooling_the_cost_beats_the_median_of_single_seeds_paths(
    flow: MixtureFlow, paths: tuple[OssPath, ...], held_out: SearchProblem, held_out_teacher: Teacher
) -> None:
    steps, singles = 6, []
    for seed in range(16):
        problem = mixture_problem(flow, 1, seed_offset=seed)
        singles.append(search_paths(problem, run_teacher(problem, 96, nodes=48), steps)[-1].nodes)
    grid = np.linspace(1, 0, 49)
    medians = grid[[median_low(place) for place in zip(*singles, strict=True)]]
    pooled = held_out_error(held_out, held_out_teacher, paths[steps - 1].sigmas)
    assert pooled < held_out_error(held_out, held_out_teacher, medians)


def test_free_start_moves_the_start_and_helps_few_steps(
    calibration: SearchProblem, calibration_teacher: Teacher, paths: tuple[OssPath, ...]
) -> None:
    free = search_paths(calibration, calibration_teacher, 3, OssOptions(free_start=True))
    assert free[1].sigmas[0] < 1.0
    assert free[1].error < paths[1].error


def test_equal_to_brute_force_with_two_steps(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    grid = calibration_teacher.sigmas
    errors = [
        pooled_error(euler_rollout(calibration, grid[[0, i, -1]]), calibration_teacher.final)
        for i in range(1, calibration_teacher.nodes_count)
    ]
    found = search_paths(calibration, calibration_teacher, 2, OssOptions(cost="x"))[1]
    assert found.error == pytest.approx(min(errors), rel=1e-3)


def test_the_x0_cost_looks_at_further_candidates(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    counted = {cost: _rows_called(calibration, calibration_teacher, OssOptions(cost=cost)) for cost in ("x", "x0")}
    assert counted["x"] < counted["x0"] <= 2 * counted["x"]


def _rows_called(problem: SearchProblem, teacher: Teacher, options: OssOptions) -> int:
    rows_called = 0

    def counting(x, t, rows):  # type: ignore[no-untyped-def]
        nonlocal rows_called
        rows_called += len(x)
        return problem.conditional(x, t, rows)

    search_paths(replace(problem, conditional=counting), teacher, 4, options)
    return rows_called


def test_fill_splits_the_widest_edges() -> None:
    assert fill((0, 10, 12), 4) == (0, 2, 5, 10, 12)
    assert fill((0, 1), 1) == (0, 1)


@pytest.mark.parametrize(("path", "edges"), [((0, 1, 2), 1), ((0, 3), 4)])
def test_fill_refuses_what_does_not_fit(path: tuple[int, ...], edges: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        fill(path, edges)


def test_budget_beyond_the_grid_is_refused(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    with pytest.raises(ValueError, match=r"must be in 1\.\.48"):
        search_paths(calibration, calibration_teacher, 49)


def test_unknown_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="must be x0 or x"):
        OssOptions(cost="pixels")  # type: ignore[arg-type]
