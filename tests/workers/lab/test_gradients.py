"""Gradients pass through a stock transformer as the laboratory calls it."""

from pathlib import Path

import pytest
import torch
from torch._functorch import config

from pacer.settings import Settings
from schedules.search.problem import SearchProblem
from workers.families.sd3 import Sd3Family
from workers.lab.loading import _field, open_model


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


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # the compiler's own
def test_a_compiled_network_can_be_gone_back_through_more_than_once(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "donated_buffer", True)  # what torch does by default
    (tmp_path / "prompts.txt").write_text("a red circle\n")
    open_model(str(tiny_folder), Settings(compile=True), tmp_path / "prompts.txt")
    assert not config.donated_buffer
