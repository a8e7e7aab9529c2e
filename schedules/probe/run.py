"""One run of a stock scheduler over given network outputs and given noise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch

from schedules.probe.draws import intercepted_draws
from schedules.table import FloatArray

_COLUMN_AXES = 4
"""Columns are the channels of a (1, columns, 1, 1) picture: schedulers expect pictures and treat channels alike."""


class ProbeError(ValueError):
    """A scheduler that gives no table; the message says why."""


class NotLinear(ProbeError):  # noqa: N818 - reads as what it says where it is caught
    """The scheduler is not linear in its noise and the network's outputs."""


class NotFinite(ProbeError):  # noqa: N818 - reads as what it says where it is caught
    """The scheduler itself gives nan or inf at this step count."""


class CannotRun(ProbeError):  # noqa: N818 - reads as what it says where it is caught
    """The scheduler refuses this step count or these sigmas, or changes them."""


class Scheduler(Protocol):
    """What the probe uses of a stock scheduler."""

    timesteps: torch.Tensor

    def set_timesteps(self, *args: object, **options: object) -> None:
        """Lay out the grid."""

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **options: object
    ) -> tuple[torch.Tensor, ...]:
        """Go one step on."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one run saw; `columns` is whatever the caller ran over."""

    states: FloatArray
    """The sample before each evaluation, then the result, shape (E + 1, columns)."""
    times: FloatArray
    """The network's time of each evaluation, shape (E,)."""
    inputs: FloatArray
    """What the network would have been given, shape (E, columns)."""
    draws: int
    """How often the scheduler drew noise."""


def prepared(scheduler: object, set_options: Mapping[str, object]) -> Scheduler:
    """A copy with its grid laid out; the caller's object is left as it was.

    Raises:
        CannotRun: it is no scheduler, or refuses the options.
    """
    name = type(scheduler).__name__
    if not (hasattr(scheduler, "set_timesteps") and hasattr(scheduler, "step")):
        raise CannotRun(f"{name} is no scheduler: it needs set_timesteps and step")
    own = cast("Scheduler", copy.deepcopy(scheduler))
    try:
        own.set_timesteps(**set_options)
        if hasattr(own, "set_begin_index"):
            own.set_begin_index(0)  # else a first time that occurs twice is looked up as the second
    except Exception as error:  # a foreign library raises what it likes
        raise CannotRun(f"{name}.set_timesteps({_shown(set_options)}): {error!r}") from error
    return own


def run(
    scheduler: Scheduler,
    noise: FloatArray,
    outputs: Callable[[int], FloatArray],
    draws: Callable[[int], FloatArray],
    step_options: Mapping[str, object],
) -> Trace:
    """Run a prepared scheduler once, with its own initial scale and input scaling.

    Args:
        scheduler: from `prepared`; used up by the run.
        noise: the starting noise, shape (columns,).
        outputs: the network's output of each evaluation, shape (columns,).
        draws: the scheduler's k-th draw, shape (columns,).
        step_options: further arguments of its `step`.

    Raises:
        CannotRun: the scheduler raised.
        NotLinear: it drew noise of another shape than the sample's.
    """
    sample = _tensor(noise) * _initial_scale(scheduler)
    states, inputs = [_array(sample)], []
    with intercepted_draws(scheduler, lambda k: _tensor(draws(k)), refuse=NotLinear) as drawn:
        for k, time in enumerate(scheduler.timesteps):
            try:
                inputs.append(_array(_scaled(scheduler, sample, time)))
                sample = scheduler.step(_tensor(outputs(k)), time, sample, return_dict=False, **step_options)[0]
            except ProbeError:
                raise
            except Exception as error:  # a foreign library raises what it likes
                raise CannotRun(f"{type(scheduler).__name__}.step at evaluation {k}: {error!r}") from error
            states.append(_array(sample))
    times = scheduler.timesteps.to(torch.float64).cpu().numpy()
    return Trace(np.stack(states), times, np.stack(inputs), drawn.count)


def _initial_scale(scheduler: Scheduler) -> float:
    return float(getattr(scheduler, "init_noise_sigma", 1.0))


def _scaled(scheduler: Scheduler, sample: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    scale = getattr(scheduler, "scale_model_input", None)
    scaled: torch.Tensor = sample if scale is None else scale(sample, time)
    return scaled


def _tensor(columns: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.array(columns, dtype=np.float64)).reshape(1, -1, 1, 1)


def _array(sample: torch.Tensor) -> FloatArray:
    if sample.dim() != _COLUMN_AXES:
        raise NotLinear(f"the sample changed its shape to {tuple(sample.shape)}")
    return sample.to(torch.float64).reshape(-1).numpy().copy()


def _shown(options: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name}={f'[{len(value)} values]' if isinstance(value, np.ndarray) else value}"
        for name, value in options.items()
    )
