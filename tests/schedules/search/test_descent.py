from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem
from schedules.search.descent import Descent, DescentOptions, Student, roll_out_rows
from schedules.search.grid_parameters import levels, log_gaps, nudged
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.teacher import Teacher
from schedules.search.two_step import solver_rows


def student(sigmas: Tensor) -> Student:
    return Student(sigmas, solver_rows("ab2", sigmas), sigmas[:-1])


@pytest.fixture
def guided(flow: MixtureFlow) -> SearchProblem:
    problem = mixture_problem(flow, 4)
    return replace(problem, unconditional=gaussian_mixture(seed=4), guidance_scale=2.0, batch=3)


def test_the_rollout_is_that_of_the_table(guided: SearchProblem) -> None:
    sigmas = shifted(5, 3.0)
    final = roll_out_rows(guided, student(torch.tensor(sigmas)), guided.noise[2:], torch.tensor([2, 3]))
    torch.testing.assert_close(final, roll_out(guided, compile_table("ab2", sigmas, "flow")).final[2:])


def test_gradients_through_the_rollout_equal_finite_differences(guided: SearchProblem) -> None:
    problem, seeds = guided.differentiable(), torch.arange(4)
    gaps = log_gaps(shifted(4, 3.0)).requires_grad_()
    direction = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)

    def value(parameters: Tensor) -> Tensor:
        return roll_out_rows(problem, student(levels(parameters)), problem.noise, seeds).double().square().mean()

    slope = torch.autograd.grad(value(gaps), gaps)[0] @ direction
    with torch.no_grad():
        expected = (value(gaps + 5e-3 * direction) - value(gaps - 5e-3 * direction)) / 1e-2
    assert float(slope) == pytest.approx(float(expected), rel=2e-2)


def test_plain_problems_keep_no_gradients(guided: SearchProblem) -> None:
    noise = guided.noise.clone().requires_grad_()
    assert not guided.velocity(noise, 0.5).requires_grad
    assert guided.differentiable().velocity(noise, 0.5).requires_grad


def test_every_call_is_made_once_more_on_the_way_back(guided: SearchProblem) -> None:
    called = 0

    def counting(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        nonlocal called
        called += len(x)
        return guided.conditional(x, t, rows)

    problem = replace(guided, conditional=counting).differentiable()
    output = problem.velocity(problem.noise.clone().requires_grad_(), 0.5)
    assert called == 4
    output.sum().backward()
    assert called == 8


def test_a_network_that_cuts_gradients_off_is_refused(guided: SearchProblem) -> None:
    problem = replace(guided, conditional=torch.no_grad()(guided.conditional)).differentiable()
    with pytest.raises(ValueError, match="lets no gradients through"):
        problem.output(problem.noise.clone().requires_grad_(), torch.full((4,), 500.0), torch.arange(4), 1.0)


def test_moved_noise_stays_in_its_ball(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    descent = Descent(calibration_teacher, calibration, 3, DescentOptions(seeds=16, radius=0.02))
    gaps = log_gaps(shifted(3, 3.0))
    descent.run(lambda: student(levels(gaps)), [gaps], torch.optim.Adam([gaps], lr=0.01), 6)
    moved = descent._moved.square().mean(1).sqrt()
    assert moved.max() <= 0.02 * 1.0001
    assert (moved[:12] > 0.004).all()
    assert (moved[12:] == 0).all()


def test_latents_may_have_any_shape(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    def pictures(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        return calibration.conditional(x.flatten(1), t, rows).reshape(x.shape)

    shape = (64, 2, 4, 4)
    states = calibration_teacher.states.reshape(-1, *shape)
    teacher = replace(calibration_teacher, states=states)
    problem = replace(calibration, noise=calibration.noise.reshape(shape), conditional=pictures)
    found = [log_gaps(shifted(3, 3.0)) for _ in range(2)]
    for gaps, of, seeds in zip(found, (calibration_teacher, teacher), (calibration, problem), strict=True):
        descent = Descent(of, seeds, 3, DescentOptions(seeds=16, radius=0.02))
        descent.run(lambda gaps=gaps: student(levels(gaps)), [gaps], torch.optim.Adam([gaps], lr=0.01), 2)  # type: ignore[misc]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_the_parameters_that_validation_liked_best_remain(
    calibration: SearchProblem, calibration_teacher: Teacher
) -> None:
    descent = Descent(calibration_teacher, calibration, 4, DescentOptions(seeds=16))
    gaps = log_gaps(shifted(4, 3.0))
    before = descent.validation_error(lambda: student(levels(gaps)))
    descent.run(lambda: student(levels(gaps)), [gaps], torch.optim.SGD([gaps], lr=30.0), 2)
    assert descent.validation_error(lambda: student(levels(gaps))) <= before
    assert not gaps.requires_grad


def test_what_the_view_shows_is_what_counts(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    def view(latents: Tensor) -> Tensor:
        return 100 * latents[:, :8]

    split = Split(calibration, view(calibration_teacher.final), view, floor=1e-3)
    descent = Descent(calibration_teacher, calibration, 4, DescentOptions(seeds=16), split)
    gaps = log_gaps(shifted(4, 3.0))
    final = roll_out(calibration.take(16), compile_table("ab2", shifted(4, 3.0), "flow")).final
    off = (view(final) - view(calibration_teacher.final[:16]))[12:]
    wanted = (off.square().mean(1) + 1e-3).log().mean()
    assert descent.validation_error(lambda: student(levels(gaps))) == pytest.approx(float(wanted), rel=1e-3)
    before, unseen = gaps.clone(), Split(calibration, calibration_teacher.final[:, :1], lambda x: 0 * x[:, :1])
    blind = Descent(calibration_teacher, calibration, 4, DescentOptions(seeds=16), unseen)
    blind.run(lambda: student(levels(gaps)), [gaps], torch.optim.SGD([gaps], lr=1.0), 1)
    assert torch.equal(gaps, before)


def test_a_view_that_cuts_gradients_off_is_refused(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    split = Split(calibration, calibration_teacher.final, lambda final: final.detach().round())
    descent = Descent(calibration_teacher, calibration, 3, DescentOptions(seeds=16), split)
    gaps = log_gaps(shifted(3, 3.0))
    with pytest.raises(ValueError, match="its view lets no gradients through"):
        descent.run(lambda: student(levels(gaps)), [gaps], torch.optim.Adam([gaps]), 1)


def test_rounds_may_share_the_training_seeds_out(calibration: SearchProblem, calibration_teacher: Teacher) -> None:
    descent = Descent(calibration_teacher, calibration, 3, DescentOptions(seeds=16, each=4, radius=0.02))
    gaps = log_gaps(shifted(3, 3.0))
    for moved in (4, 8, 12, 12):
        descent.run(lambda: student(levels(gaps)), [gaps], torch.optim.Adam([gaps], lr=0.01), 1)
        assert int(descent._moved.any(1).sum()) == moved


def test_grid_parameters_give_the_grid_back() -> None:
    sigmas = shifted(6, 3.0)
    np.testing.assert_allclose(levels(log_gaps(sigmas)).numpy(), sigmas, atol=1e-12)
    wild = levels(torch.tensor([40.0, -40.0, 0.0], dtype=torch.float64))
    assert (wild.diff() < 0).all()
    assert wild[[0, -1]].tolist() == [1.0, 0.0]


def test_told_levels_stay_within_half_the_least_gap() -> None:
    sigmas = torch.tensor([1.0, 0.7, 0.5, 0.1, 0.0], dtype=torch.float64)
    told = nudged(sigmas, torch.tensor([5.0, 5.0, -1.0, 0.5], dtype=torch.float64))
    torch.testing.assert_close(told, torch.tensor([1.0, 0.75, 0.45, 0.125], dtype=torch.float64))


@pytest.mark.parametrize("bad", [{"seeds": 1}, {"batch": 0}, {"each": 0}, {"radius": -1.0}])
def test_impossible_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        DescentOptions(**bad)  # type: ignore[arg-type]


def test_a_grid_that_does_not_fall_from_1_to_0_is_refused() -> None:
    with pytest.raises(ValueError, match="from 1 to 0"):
        log_gaps(np.array([0.9, 0.5, 0.0]))
