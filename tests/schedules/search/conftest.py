"""One small mixture and its teachers, shared by the tests of the search."""

import pytest

from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher, run_teacher


@pytest.fixture(scope="session")
def flow() -> MixtureFlow:
    return gaussian_mixture(seed=3)


@pytest.fixture(scope="session")
def calibration(flow: MixtureFlow) -> SearchProblem:
    return mixture_problem(flow, 64)


@pytest.fixture(scope="session")
def held_out(flow: MixtureFlow) -> SearchProblem:
    return mixture_problem(flow, 256, seed_offset=10_000)


@pytest.fixture(scope="session")
def small_teacher(flow: MixtureFlow) -> Teacher:
    return run_teacher(mixture_problem(flow, 8), 12)


@pytest.fixture(scope="session")
def calibration_teacher(calibration: SearchProblem) -> Teacher:
    return run_teacher(calibration, 96, nodes=48)


@pytest.fixture(scope="session")
def held_out_teacher(held_out: SearchProblem) -> Teacher:
    return run_teacher(held_out, 96, nodes=1)
