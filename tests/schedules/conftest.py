"""How the tests run a stock scheduler and a table on the same nonlinear field, in float64."""

import copy
from collections.abc import Callable, Iterator

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from schedules.table import Table

settings.register_profile("steady", deadline=None)  # other work on the machine is no failure
settings.load_profile("steady")

Array = NDArray[np.float64]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Schedulers log what they change in their own configuration."""
    before = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    yield
    diffusers.utils.logging.set_verbosity(before)


def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A bounded nonlinear function of the input and the time, elementwise."""
    return 1.5 * torch.tanh(0.7 * x + 0.3 * torch.sin(3 * x) + t.double() / 1000)


@pytest.fixture
def run_stock() -> Callable[..., Array]:
    """As a stock pipeline runs it: initial scale, scaled input, step."""

    def run(scheduler, steps: int, noise: Array, **options: object) -> Array:
        scheduler = copy.deepcopy(scheduler)
        scheduler.set_timesteps(steps)
        x = torch.from_numpy(noise).reshape(1, -1, 1, 1) * float(getattr(scheduler, "init_noise_sigma", 1.0))
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            x = scheduler.step(field(scaled, t), t, x, return_dict=False, **options)[0]
        return x.double().reshape(-1).numpy()

    return run


@pytest.fixture
def run_table() -> Callable[..., Array]:
    """The definition of a table, word for word; bases of shape (B, D)."""

    def run(table: Table, bases: Array) -> Array:
        history = list(bases)
        for k in range(table.evaluations_count):
            x = table.X[k, : len(history)] @ np.array(history)
            y = field(torch.from_numpy(table.c[k] * x), torch.tensor(table.t[k]))
            history.append(y.numpy())
        return table.X[-1] @ np.array(history)

    return run


@pytest.fixture
def relative_error() -> Callable[[Array, Array], float]:
    """The largest difference, relative to max(1, max|wanted|)."""

    def error(got: Array, wanted: Array) -> float:
        return float(np.abs(got - wanted).max() / max(1.0, np.abs(wanted).max()))

    return error


class NoSinglePrecision(TorchFunctionMode):
    """Lets casts to float32 go to float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = {**(kwargs or {})}
        if func is torch.Tensor.to:
            args = tuple(torch.float64 if arg is torch.float32 else arg for arg in args)
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


@pytest.fixture
def no_single_precision() -> NoSinglePrecision:
    return NoSinglePrecision()
