from dataclasses import replace

import torch

from schedules.search.analytic import gaussian_mixture, mixture_problem
from schedules.search.problem import Branches
from workers.lab.meter import Meter


def test_a_way_back_counts_as_an_evaluation() -> None:
    meter = Meter()
    problem = meter.watch(mixture_problem(gaussian_mixture(), 3))
    x = problem.noise.clone().requires_grad_()
    output = problem.conditional(x, torch.full((3,), 500.0), torch.arange(3))
    assert meter.evaluations == 3
    torch.autograd.grad(output.sum(), x, retain_graph=True)
    torch.autograd.grad(output.square().sum(), x)
    assert meter.evaluations == 9


def test_a_smaller_network_counts_as_what_it_costs() -> None:
    meter = Meter()
    problem = mixture_problem(gaussian_mixture(), 8)
    watched = meter.watch(replace(problem, smaller={"half": Branches(problem.conditional, None, 0.25)}))
    watched.network("half").conditional(problem.noise, torch.full((8,), 500.0), torch.arange(8))
    assert meter.evaluations == 2
    watched.network("").conditional(problem.noise, torch.full((8,), 500.0), torch.arange(8))
    assert meter.evaluations == 10
