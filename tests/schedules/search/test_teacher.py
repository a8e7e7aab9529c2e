import numpy as np
import pytest
import torch

from schedules.search.analytic import MixtureFlow, mixture_problem, reference
from schedules.search.evaluate import seed_errors
from schedules.search.oss import euler_rollout
from schedules.search.teacher import run_teacher


def test_teacher_keeps_what_the_euler_loop_passes(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 4)
    teacher = run_teacher(problem, 12, nodes=3)
    whole = run_teacher(problem, 12)
    assert teacher.sigmas.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    torch.testing.assert_close(teacher.states, whole.states[::4])
    torch.testing.assert_close(teacher.velocities, whole.velocities[::4])
    torch.testing.assert_close(teacher.final, euler_rollout(problem, np.linspace(1, 0, 13)))


def test_teacher_comes_nearer_to_the_reference_with_more_steps(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 16)
    exact = reference(flow, problem.noise)
    errors = [np.median(seed_errors(run_teacher(problem, n, nodes=1).final, exact)) for n in (50, 100, 200)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]  # first order: squared errors fall fourfold


def test_reference_is_converged(flow: MixtureFlow) -> None:
    noise = mixture_problem(flow, 16).noise
    difference = (reference(flow, noise) - reference(flow, noise, steps=800)).abs().max()
    assert difference < 1e-6


def test_clean_image_prediction_ends_in_the_sample(flow: MixtureFlow) -> None:
    teacher = run_teacher(mixture_problem(flow, 4), 10)
    torch.testing.assert_close(teacher.x0(10), teacher.final)
    expected = teacher.states[4] - 0.6 * teacher.velocities[4]
    torch.testing.assert_close(teacher.x0(4), expected)


def test_local_change_is_that_of_the_velocity(flow: MixtureFlow) -> None:
    teacher = run_teacher(mixture_problem(flow, 4), 10)
    change = (teacher.velocities[3] - teacher.velocities[2]).square().mean(-1).mean().sqrt() / 0.1
    assert teacher.local_change()[2] == pytest.approx(float(change), rel=0.05)
    assert teacher.local_change().shape == (9,)


def test_taking_seeds_is_running_fewer(flow: MixtureFlow) -> None:
    problem = mixture_problem(flow, 4)
    torch.testing.assert_close(run_teacher(problem, 6).take(2).states, run_teacher(problem.take(2), 6).states)


@pytest.mark.parametrize("nodes", [0, 5])
def test_nodes_that_do_not_divide_the_steps_are_refused(flow: MixtureFlow, nodes: int) -> None:
    with pytest.raises(ValueError, match="must divide the teacher's 12 steps"):
        run_teacher(mixture_problem(flow, 2), 12, nodes=nodes)
