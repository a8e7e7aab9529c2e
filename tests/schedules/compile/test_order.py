"""How fast the error falls with the number of steps, on an exact Gaussian mixture."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from schedules.compile import SOLVERS, compile_table, evaluation_sigmas
from schedules.search.analytic import gaussian_mixture

FLOW = gaussian_mixture(dimensions=2, components=3, spread=0.5, seed=3)
START, END = 0.9, 0.1
STEPS = (48, 96, 192)
MEASURED = {
    "euler": 1,
    "ddim": 1,
    "ab2": 2,
    "ab3": 3,
    "heun": 2,
    "ipndm": 2,  # the coefficients of even grids on an uneven one, and first steps of lower order
    "deis-2": 2,
    "deis-3": 3,
    "dpmpp-2m": 2,
    "dpmpp-3m": 2,  # half the weight on the second derivative
    "unipc-2": 3,  # the corrector adds one
    "unipc-3": 4,
}


def velocity(x: Tensor, sigma: float) -> Tensor:
    return FLOW.velocity(x, torch.full((len(x),), sigma, dtype=torch.float64))


def noise() -> Tensor:
    return torch.randn(16, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@cache
def true_end() -> Tensor:
    """By Runge and Kutta's fourth-order method, error below 1e-10."""
    x, step = noise(), (END - START) / 800
    for sigma in np.linspace(START, END, 801)[:-1]:
        k1 = velocity(x, sigma)
        k2 = velocity(x + step / 2 * k1, sigma + step / 2)
        k3 = velocity(x + step / 2 * k2, sigma + step / 2)
        k4 = velocity(x + step * k3, sigma + step)
        x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def error(solver: str, steps: int) -> float:
    u = np.linspace(0.0, 1.0, steps + 1)
    # Short first and last steps, which are of lower order.
    sigmas = START - (START - END) * (3 * u**2 - 2 * u**3)
    table, history = compile_table(solver, sigmas, "flow"), noise()[None]
    for k, sigma in enumerate(evaluation_sigmas(solver, sigmas)):
        x = torch.einsum("h,h...->...", torch.from_numpy(table.X[k, : k + 1].copy()), history)
        history = torch.cat([history, velocity(x, float(sigma))[None]])
    end = torch.einsum("h,h...->...", torch.from_numpy(table.X[-1].copy()), history)
    return float((end - true_end()).square().mean().sqrt())


def test_every_solver_is_measured():
    assert MEASURED.keys() == SOLVERS.keys()


@pytest.mark.parametrize("solver", MEASURED)
def test_error_falls_with_the_order_of_the_solver(solver):
    slope, _ = np.polyfit(np.log(STEPS), np.log([error(solver, steps) for steps in STEPS]), 1)
    assert -slope == pytest.approx(MEASURED[solver], abs=0.4)


def test_more_orders_make_smaller_errors():
    at = {solver: error(solver, 24) for solver in SOLVERS}
    assert at["ab3"] < at["ab2"] < at["euler"] / 5
    assert at["deis-3"] < at["deis-2"] < at["ddim"] / 5
    assert at["unipc-3"] < at["unipc-2"] < at["dpmpp-3m"] < at["dpmpp-2m"]
