"""What a stock scheduler is asked to do: its grid in its own convention, checked after it was laid out."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from schedules.probe.run import CannotRun, Scheduler, Trace, prepared, run
from schedules.table import FloatArray

_GRID_TOLERANCE = 2e-6  # float32, and UniPC, which begins flows at 1 - 1e-6
_TAKES_TRAILING_ZERO = ("EulerDiscreteScheduler",)


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """A scheduler with its grid laid out, and how to run it; each run is on a fresh copy."""

    scheduler: Scheduler
    step_options: Mapping[str, object]

    @classmethod
    def of(
        cls,
        scheduler: object,
        steps: int,
        sigmas: Sequence[float] | FloatArray | None,
        set_options: Mapping[str, object],
        step_options: Mapping[str, object],
    ) -> Rig:
        """Lay out the grid on a copy.

        Raises:
            CannotRun: no such step count, or no such grid for this scheduler.
        """
        if steps < 1:
            raise CannotRun(f"steps: must be >= 1, is {steps}")
        if sigmas is None:
            return cls(prepared(scheduler, {"num_inference_steps": steps, **set_options}), step_options)
        wanted = np.array(sigmas, dtype=np.float64)
        own = prepared(scheduler, {**_own_grid(scheduler, steps, wanted), **set_options})
        _check_grid(own, wanted)
        return cls(own, step_options)

    @property
    def name(self) -> str:
        """The scheduler's class."""
        return type(self.scheduler).__name__

    @property
    def evaluations_count(self) -> int:
        """How often the scheduler will ask for an output."""
        return len(self.scheduler.timesteps)

    def count_draws(self) -> int:
        """How often the scheduler will draw noise."""
        nothing = np.zeros(1)
        return run(self._copy(), nothing, lambda _: nothing, lambda _: nothing, self.step_options).draws

    def run(self, vectors: FloatArray, bases: int) -> Trace:
        """Run with the given noise, draws and outputs, one a row of `vectors`, the `bases` first."""
        return run(self._copy(), vectors[0], lambda k: vectors[bases + k], lambda k: vectors[1 + k], self.step_options)

    def _copy(self) -> Scheduler:
        return copy.deepcopy(self.scheduler)


def _own_grid(scheduler: object, steps: int, sigmas: FloatArray) -> dict[str, object]:
    """The arguments by which this scheduler takes sigmas; they don't agree on the trailing 0."""
    name = type(scheduler).__name__
    if sigmas.shape != (steps + 1,) or sigmas[-1] != 0:
        raise CannotRun(f"sigmas: must have {steps + 1} values for {steps} steps, the last 0")
    if "sigmas" not in inspect.signature(getattr(scheduler, "set_timesteps")).parameters:  # noqa: B009 - typed object
        raise CannotRun(f"sigmas: {name} takes none; compile them with a solver of schedules.compile")
    return {"sigmas": sigmas if name in _TAKES_TRAILING_ZERO else sigmas[:-1]}


def _check_grid(scheduler: Scheduler, wanted: FloatArray) -> None:
    """Refuse a scheduler that shifts, stretches or rounds the sigmas it was given."""
    kept = np.array(getattr(scheduler, "sigmas", ()), dtype=np.float64)
    if kept.shape != wanted.shape or np.abs(kept - wanted).max() > _GRID_TOLERANCE * max(1.0, wanted.max()):
        raise CannotRun(
            f"sigmas: {type(scheduler).__name__} changes them; set shift to 1 and dynamic shifting, shift_terminal "
            "and the karras, exponential and beta options off"
        )
