"""Between the laboratory, which sees every model as a flow, and artefacts, whose tables are over the network's outputs.

A variance-preserving model is searched as the velocity of a flow (schedules.search.wrapped), which changes no sampler:
what is found goes into the artefact in the network's own coordinates, and comes back exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from schedules.artefact import BetaSchedule, Entry, Schedule
from schedules.compile import compile_table
from schedules.coordinates import exploding_sigmas, flow_levels, to_flow, to_network
from schedules.grid_names import Grid, find_grid, grid_names
from schedules.noise import FLOW, TRAIN_TIMES, NoiseSchedule, VariancePreserving
from schedules.search.method import Sampler
from schedules.search.problem import Field
from schedules.search.wrapped import VelocityOf
from schedules.table import FloatArray, Prediction, Table


@dataclass(frozen=True, slots=True)
class Native:
    """What a model's network was trained to predict, and on which noise.

    Attributes:
        prediction: what its output stands for.
        noise: of training; None for a flow.
        schedule: the same as a map from sigma.
    """

    prediction: Prediction = "flow"
    noise: BetaSchedule | None = None
    schedule: NoiseSchedule = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", FLOW if self.noise is None else self.noise.schedule())

    @property
    def identity(self) -> dict[str, object]:
        """What tells the same weights apart where they are taken for another kind; nothing for a flow."""
        return {} if self.noise is None else {"prediction": self.prediction, "noise": self.noise.model_dump()}

    @property
    def grids(self) -> tuple[str, ...]:
        """Names of the grids that go with the noise."""
        return grid_names(self.schedule)

    def velocity(self, make: Callable[..., Field]) -> Callable[..., Field]:
        """From whatever makes the network under prompts to what makes it as the velocity of a flow."""
        noise = self.schedule
        if not isinstance(noise, VariancePreserving):
            return make
        return lambda *args, **named: VelocityOf(make(*args, **named), self.prediction, noise)

    def grid(self, name: str) -> Grid:
        """A grid by its name, in the network's own sigmas.

        Raises:
            ValueError: there is none for this noise.
        """
        found = find_grid(name, self.schedule)
        if found is None:
            raise ValueError(f"grid: must be one of {', '.join(self.grids)}, is {name!r}")
        return found

    def compiled(self, solver: str, sigmas: FloatArray) -> Sampler:
        """A formula solver on the network's own sigmas, as stock pipelines run it, seen as a flow.

        Args:
            solver: one of SOLVERS.
            sigmas: falling, shape (steps + 1,), float64.
        """
        return self.sampler(sigmas, self.compile(solver, sigmas))

    def compile(self, solver: str, sigmas: FloatArray) -> Table:
        """The same over the network's own outputs."""
        return compile_table(solver, sigmas, self.prediction, self.schedule)

    def compiled_at(self, solver: str, levels: FloatArray) -> Table:
        """The table of the same on flow levels, shape (steps + 1,), from 1 down."""
        return self.compiled(solver, self.sigmas(levels)).table

    def sigmas(self, levels: FloatArray) -> FloatArray:
        """The network's own sigmas of flow levels, at most the largest that it knows, same shape."""
        return levels if self.noise is None else exploding_sigmas(levels, self.schedule)

    def sampler(self, sigmas: FloatArray, table: Table) -> Sampler:
        """A table over the network's outputs as the laboratory runs it.

        Args:
            sigmas: the network's own, falling, shape (steps + 1,), float64.
            table: over them.

        Raises:
            CoordinatesError: an unconditional output is reused, which stands for another velocity elsewhere.
        """
        if self.noise is None:
            return Sampler(sigmas, table)
        return Sampler(flow_levels(sigmas), to_flow(table, self._levels(sigmas, table), self.prediction, self.schedule))

    def stored(self, sampler: Sampler) -> tuple[FloatArray, Table]:
        """The network's own sigmas, shape (steps + 1,), and the table over its outputs; raises as `sampler`."""
        if self.noise is None:
            return sampler.sigmas, sampler.table
        levels = np.append(sampler.table.t / TRAIN_TIMES, sampler.sigmas[-1])
        return self.sigmas(sampler.sigmas), to_network(sampler.table, levels, self.prediction, self.schedule)

    def _levels(self, sigmas: FloatArray, table: Table) -> FloatArray:
        """The flow level of each evaluation and of the result; where evaluations are not steps, times tell."""
        if table.evaluations_count == len(sigmas) - 1 or not isinstance(self.schedule, VariancePreserving):
            return flow_levels(sigmas)
        return flow_levels(np.append(self.schedule.sigma(table.t), sigmas[-1]))


FLOW_NATIVE = Native()


def native_of(schedule: Schedule) -> Native:
    """The kind of network that an artefact is for."""
    return Native(schedule.prediction, schedule.noise)


def artefact_sampler(schedule: Schedule, entry: Entry) -> Sampler:
    """An entry of an artefact as the laboratory runs it."""
    return native_of(schedule).sampler(entry.sigma_array(), schedule.table(entry))
