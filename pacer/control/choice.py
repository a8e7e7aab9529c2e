"""A sampler that could serve a request: of the registry, of a grid, or over the caller's own noise levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from pacer.control.budget_request import BudgetRequest, grid_solver, invalid
from pacer.control.own_sigmas import check_sigmas
from pacer.errors import ErrorKind, PacerError
from schedules.artefact import Entry, Schedule
from schedules.compile import compile_table
from schedules.evidence import Evidence
from schedules.grid_names import find_grid, grid_names
from schedules.noise import NoiseSchedule
from schedules.registry import entry_table
from schedules.table import FloatArray, Prediction, Table

CUSTOM = "custom"
"""The schedule name of a plan that was made from the caller's own sigmas."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A sampler and what is known of it.

    Attributes:
        name: of the schedule: a registry id, a grid's name or CUSTOM.
        solver: its name.
        sigmas: noise levels, steps + 1 of them, falling to 0.
        table: what the engine runs.
        evidence: what was measured of it; None where nothing was.
        other_model: whether it was optimised on another model or other weights.
        interpolated: whether it is used beyond what it was shown to hold for.
        by_prompt: whether the evidence is what is to be expected for the prompt at hand, rather than for all.
        costs: what a forward of each smaller network that its rows name costs, in forwards of the model's own.
    """

    name: str
    solver: str
    sigmas: tuple[float, ...]
    table: Table
    evidence: Evidence | None = None
    other_model: bool = False
    interpolated: bool = False
    by_prompt: bool = False
    costs: Mapping[str, float] = field(default_factory=dict)

    def network_evaluations(self, guidance_scale: float) -> int:
        """Forwards of the network for one image, as its table counts them."""
        return self.table.network_evaluations(guidance_scale, self.costs)


def from_entry(schedule: Schedule, entry: Entry) -> Choice:
    """An entry of the registry, with what was measured of it."""
    name, table = schedule.entry_id(entry.steps), entry_table(schedule, entry)
    return Choice(name, schedule.solver, entry.sigmas, table, entry.evidence, costs=schedule.costs)


def from_grid(request: BudgetRequest, name: str, steps: int) -> Choice:
    """A textbook grid by its name: no evidence, hence no predicted quality."""
    noise = request.card.noise_schedule
    if find_grid(name, noise) is None:
        allowed = f"an id model/solver/steps, or one of the grids {', '.join(grid_names(noise))}"
        raise PacerError(ErrorKind.schedule_not_found, f"no schedule {name[:120]!r}; give {allowed}", field="schedule")
    return _on_grid(name, grid_solver(request), steps, request.card.prediction, noise)


@lru_cache(maxsize=1024)
def _on_grid(name: str, solver: str, steps: int, prediction: Prediction, noise: NoiseSchedule) -> Choice:
    """Kept, as a table of many steps takes longer to compile than all else that planning does."""
    grid = find_grid(name, noise)
    if grid is None:
        raise ValueError(f"name: {name!r} is no grid")
    sigmas = grid(steps)
    return Choice(name, solver, tuple(sigmas.tolist()), _compile(solver, sigmas, prediction, noise, field="schedule"))


def from_sigmas(request: BudgetRequest, sigmas: tuple[float, ...], max_steps: int) -> Choice:
    """The caller's own noise levels.

    Raises:
        PacerError: invalid_request.
    """
    if request.schedule is not None:
        raise invalid("sigmas", "sigmas and schedule are two answers to one question; give one of them")
    check_sigmas(sigmas, request.card, max_steps)
    if request.steps is not None and request.steps != len(sigmas) - 1:
        raise invalid("sigmas", f"{request.steps} steps need {request.steps + 1} sigmas, there are {len(sigmas)}")
    solver = grid_solver(request)
    card = request.card
    table = _compile(solver, np.array(sigmas), card.prediction, card.noise_schedule, field="sigmas")
    return Choice(CUSTOM, solver, sigmas, table)


def _compile(solver: str, sigmas: FloatArray, prediction: Prediction, noise: NoiseSchedule, *, field: str) -> Table:
    try:
        # Sigmas that almost touch overflow in the higher orders; the table then says so.
        with np.errstate(all="ignore"):
            return compile_table(solver, sigmas, prediction, noise)
    except ValueError as error:
        raise invalid(field, f"solver {solver!r} cannot run these sigmas: {error}") from error
