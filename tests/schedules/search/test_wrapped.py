"""A network that predicts something else, wrapped, is the flow it stands for."""

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.compile import compile_table, evaluation_sigmas
from schedules.coordinates import to_network
from schedules.grids import uniform
from schedules.noise import vp_of_betas
from schedules.search.analytic import MixtureFlow, mixture_problem
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.wrapped import VelocityOf
from schedules.table import Prediction

VP = vp_of_betas("linear", 1e-4, 0.02)
PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "v_prediction", "sample")


class MixtureNetwork:
    """The mixture as a network that was trained on sqrt(abar) x0 + sqrt(1 - abar) n."""

    def __init__(self, flow: MixtureFlow, prediction: Prediction) -> None:
        self.flow, self.prediction = flow, prediction

    def __call__(self, z: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        sigma = torch.from_numpy(np.exp(np.interp(t.double().numpy(), np.arange(1000), VP.log_sigmas)))[:, None]
        alpha, beta = 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()
        level = sigma / (1 + sigma)
        x = z.double() / (alpha + beta)
        velocity = self.flow.velocity(x, level[:, 0])
        clean, noise = x - level * velocity, x + (1 - level) * velocity
        outputs = {"epsilon": noise, "v_prediction": alpha * noise - beta * clean, "sample": clean}
        return outputs[self.prediction].float()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_wrapped_network_is_the_flow(flow: MixtureFlow, prediction: Prediction) -> None:
    plain = mixture_problem(flow, 8)
    wrapped = SearchProblem(plain.noise, VelocityOf(MixtureNetwork(flow, prediction), prediction, VP))
    for level in (0.95, 0.5, 0.05):
        torch.testing.assert_close(
            wrapped.velocity(plain.noise, level), plain.velocity(plain.noise, level), atol=2e-4, rtol=2e-4
        )


@pytest.mark.parametrize("solver", ["euler", "ab3", "heun"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_what_is_found_on_the_flow_is_a_table_of_the_network(
    flow: MixtureFlow, prediction: Prediction, solver: str
) -> None:
    network = MixtureNetwork(flow, prediction)
    plain = SearchProblem(mixture_problem(flow, 8).noise, network)
    wrapped = SearchProblem(plain.noise, VelocityOf(network, prediction, VP))
    sigmas = uniform(7)
    found = compile_table(solver, sigmas, "flow")
    levels = np.append(evaluation_sigmas(solver, sigmas), 0.0)
    own = to_network(found, levels, prediction, VP)
    torch.testing.assert_close(roll_out(plain, own).final, roll_out(wrapped, found).final, atol=2e-4, rtol=2e-4)


def test_pure_noise_goes_to_the_network_with_unit_variance_and_its_last_time() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def network(z: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        seen.append((z, t))
        return z

    x = torch.randn(1, 3, generator=torch.Generator().manual_seed(0))
    VelocityOf(network, "epsilon", VP)(x, torch.tensor([1000.0]), torch.arange(1))
    torch.testing.assert_close(seen[0][0], x)
    torch.testing.assert_close(seen[0][1], torch.tensor([999.0]))
