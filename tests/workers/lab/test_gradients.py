"""Gradients pass through a stock transformer as the laboratory calls it."""

import torch

from schedules.search.problem import SearchProblem
from workers.families.sd3 import Sd3Family
from workers.lab.loading import _field


def test_they_equal_finite_differences(family: Sd3Family) -> None:
    noise = torch.randn(2, *family.latent_shape(64, 64), generator=torch.Generator().manual_seed(0))
    problem = SearchProblem(noise, _field(family, ["a red circle", "a blue square"])).differentiable()
    direction = torch.randn_like(noise)

    def value(share: torch.Tensor) -> torch.Tensor:
        return problem.velocity(noise + share * direction, 0.6).double().square().mean()

    share = torch.zeros((), requires_grad=True)
    slope = float(torch.autograd.grad(value(share), share)[0])
    with torch.no_grad():
        expected = float(value(torch.tensor(0.01)) - value(torch.tensor(-0.01))) / 0.02
    assert slope != 0
    assert abs(slope - expected) < 1e-2 * abs(expected)
    assert not any(parameter.grad is not None for parameter in family._transformer.parameters())


def test_without_them_outputs_carry_none(family: Sd3Family) -> None:
    noise = torch.zeros(1, *family.latent_shape(64, 64))
    outputs = family.denoise(noise, torch.tensor([500.0]), family.encode(["a red circle"]))
    assert outputs.is_inference()
