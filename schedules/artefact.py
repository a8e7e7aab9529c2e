"""The schedule artefact: one JSON file per (model, solver, variant), one entry for each step budget.

Strictly validated: unknown fields, wrong types and impossible numbers are refused with the field's name; nothing is
repaired.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from schedules.compile import SOLVERS, compile_table
from schedules.evidence import Evidence, Figure, Kept, Provenance, Sha256, Strict, ValidFor
from schedules.grids import MAX_STEPS
from schedules.noise import FLOW, VariancePreserving, vp_of_betas
from schedules.prompt_curves import PromptCurves
from schedules.splice import Splice
from schedules.stored_table import NAME, NetworkName, StoredTable
from schedules.table import OWN, FloatArray, Prediction, Table

__all__ = [
    "LEARNED",
    "ArtefactError",
    "BetaSchedule",
    "Entry",
    "Evidence",
    "Figure",
    "Kept",
    "Prediction",
    "Provenance",
    "Schedule",
    "SmallerNetwork",
    "StoredTable",
    "ValidFor",
    "parse",
    "read",
    "write",
]

RECOMPILED_TOLERANCE = 1e-12
"""How far a formula solver's stored table may be from its recompilation: another machine's last digits."""

LEARNED = "learned"
"""In place of a solver, where the coefficients themselves were fitted: such a table is always stored."""

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")]
SolverName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
VariantName = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]


class ArtefactError(ValueError):
    """A schedule artefact that is malformed; the message names the field and the reason."""


class BetaSchedule(Strict):
    """The noise that a variance-preserving model was trained on, as its scheduler's configuration has it."""

    kind: Literal["linear", "scaled_linear"]
    beta_start: float = Field(gt=0, lt=1)
    beta_end: float = Field(gt=0, lt=1)
    train_times: int = Field(default=1000, ge=2)
    zero_terminal_snr: bool = False

    @model_validator(mode="after")
    def _rises(self) -> Self:
        self.schedule()
        return self

    def schedule(self) -> VariancePreserving:
        """What the compilers take."""
        return vp_of_betas(
            self.kind, self.beta_start, self.beta_end, self.train_times, zero_terminal_snr=self.zero_terminal_snr
        )


class SmallerNetwork(Strict):
    """A network beside the model's own that rows of a table may be evaluated with."""

    weights_sha256: Sha256
    cost: float = Field(gt=0, description="of a forward, in forwards of the model's own network")


class Entry(Strict):
    """The schedule of one step budget."""

    steps: int = Field(ge=1, le=MAX_STEPS)
    sigmas: tuple[float, ...] = Field(min_length=2, max_length=MAX_STEPS + 1)
    table: StoredTable | None = None
    evidence: Evidence | None = None

    @field_validator("sigmas")
    @classmethod
    def _falling(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(after > before for before, after in pairwise(value)):
            raise ValueError("must not increase")
        if value[-1] < 0:
            raise ValueError(f"the last must be >= 0, is {value[-1]}")
        return value

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if len(self.sigmas) != self.steps + 1:
            raise ValueError(f"sigmas: {self.steps} steps need {self.steps + 1} sigmas, there are {len(self.sigmas)}")
        return self

    def sigma_array(self) -> FloatArray:
        """The sigmas, shape (steps + 1,), float64."""
        return np.array(self.sigmas)


class Schedule(Strict):
    """All budgets of one (model, solver), or of one variant of it: another guidance, another way to spend it."""

    format: Literal["pacer-schedule/1"]
    model: ModelName
    revision: str | None
    weights_sha256: Sha256
    dtype: str = Field(min_length=1)
    quantization: str | None
    prediction: Prediction
    noise: BetaSchedule | None = None
    solver: SolverName
    variant: VariantName | None = Field(default=None, exclude_if=lambda variant: variant is None)
    order: int = Field(ge=1)
    servable: bool = True
    networks: dict[NetworkName, SmallerNetwork] = Field(default_factory=dict, exclude_if=lambda networks: not networks)
    valid_for: ValidFor
    provenance: Provenance
    entries: tuple[Entry, ...] = Field(min_length=1)
    prompts: PromptCurves | None = Field(default=None, exclude_if=lambda prompts: prompts is None)
    splices: tuple[Splice, ...] = Field(default=(), exclude_if=lambda splices: not splices)

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        budgets = [entry.steps for entry in self.entries]
        if budgets != sorted(set(budgets)):
            raise ValueError(f"entries: steps must rise without repeats, are {budgets}")
        if self.prediction == "flow" and self.noise is not None:
            raise ValueError("noise: a flow model has none")
        if self.order != SOLVERS.get(self.solver, self.order):
            raise ValueError(f"order: {self.solver} has order {SOLVERS[self.solver]}, is {self.order}")
        for index, entry in enumerate(self.entries):
            self._check_entry(entry, f"entries.{index}")
        for index, splice in enumerate(self.splices):
            self._check_splice(splice, f"splices.{index}")
        return self

    def _check_splice(self, splice: Splice, place: str) -> None:
        begun = self.entry(splice.begun)
        if begun is None:
            raise ValueError(f"{place}.begun: there is no entry of {splice.begun} steps")
        try:
            splice.check(self.table(begun))
        except ValueError as error:
            raise ValueError(f"{place}.{error}") from error

    def _check_entry(self, entry: Entry, place: str) -> None:
        """A table that cannot be compiled must be stored; one that can must be equal to its recompilation."""
        unknown = set() if entry.table is None else {*entry.table.networks} - {OWN, *self.networks}
        if unknown:
            raise ValueError(f"{place}.table.networks: {min(unknown)!r} is not among the schedule's networks")
        if self.solver not in SOLVERS:
            if entry.table is None:
                raise ValueError(f"{place}.table: must be stored; {self.solver!r} has no compiler")
            return
        try:
            compiled = self._compiled(entry)
        except ValueError as error:
            raise ValueError(f"{place}.{error}") from error
        if entry.table is not None:
            stored = entry.table.table()
            compiled = replace(compiled, w=stored.w, uncond=stored.uncond, networks=stored.networks)
            difference = stored.difference(compiled, tolerance=RECOMPILED_TOLERANCE)
            if difference is not None:
                raise ValueError(f"{place}.table.{difference} when compiled from the sigmas")

    def _compiled(self, entry: Entry) -> Table:
        noise = FLOW if self.noise is None else self.noise.schedule()
        return compile_table(self.solver, entry.sigma_array(), self.prediction, noise)

    def table(self, entry: Entry) -> Table:
        """The table of one of the entries: the stored one, or compiled from its sigmas."""
        return entry.table.table() if entry.table is not None else self._compiled(entry)

    def with_tables(self) -> Self:
        """The same schedule with every entry's table stored, for readers that have no compiler."""
        stored = (entry.model_copy(update={"table": StoredTable.of(self.table(entry))}) for entry in self.entries)
        return self.model_copy(update={"entries": tuple(stored)})

    def entry(self, steps: int) -> Entry | None:
        """The entry of a step budget, if there is one."""
        return next((entry for entry in self.entries if entry.steps == steps), None)

    def network_evaluations(self, entry: Entry, guidance_scale: float) -> int:
        """Forwards of the network for one image with one of the entries; a fresh unconditional output is one more.

        Those of smaller networks count as what they cost; the sum is rounded up.
        """
        return self.table(entry).network_evaluations(guidance_scale, self.costs)

    @property
    def measured_scale(self) -> float | None:
        """The guidance scale at which evidence was measured; None where nobody wrote it down."""
        scale = self.provenance.parameters.get("guidance_scale")
        return float(scale) if isinstance(scale, int | float) and scale > 0 else None

    def evidence_at(self, evidence: Evidence | None, guidance_scale: float) -> Evidence | None:
        """The evidence of an entry or a splice, if it is of this guidance scale: it says little of any other.

        Where nobody wrote down at which scale it was measured, it is taken for the one that is asked for.
        """
        measured = self.measured_scale
        return evidence if measured is None or math.isclose(measured, guidance_scale) else None

    @property
    def costs(self) -> dict[str, float]:
        """What a forward of each smaller network costs, in forwards of the model's own."""
        return {name: network.cost for name, network in self.networks.items()}

    @property
    def solver_id(self) -> str:
        """The solver, and the variant where there is one: solver or solver@variant."""
        return solver_id(self.solver, self.variant)

    def entry_id(self, steps: int) -> str:
        """The name by which a caller asks for an entry: model/solver/steps or model/solver@variant/steps."""
        return f"{self.model}/{self.solver_id}/{steps}"


def solver_id(solver: str, variant: str | None) -> str:
    """What stands between model and steps in an id: solver or solver@variant."""
    return solver if variant is None else f"{solver}@{variant}"


def solver_of(solver_id: str) -> str:
    """The solver of solver@variant."""
    return solver_id.partition("@")[0]


def check_variant(variant: str) -> str:
    """The name of a variant, as it is.

    Raises:
        ValueError: it is none; says what is allowed.
    """
    if not re.fullmatch(NAME, variant):
        raise ValueError(f"variant: must be 1 to 24 of a-z, 0-9 and -, such as g3, is {variant[:80]!r}")
    return variant


def read(path: Path) -> Schedule:
    """Read and check one artefact file.

    Raises:
        ArtefactError: there is no such file, or it is malformed; names the file, the field and the reason.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path}: {error.strerror}") from error
    return parse(data, source=str(path))


def parse(data: bytes | str, *, source: str = "schedule") -> Schedule:
    """Check one artefact given as JSON text.

    Raises:
        ArtefactError: names the source, the field and the reason.
    """
    try:
        return Schedule.model_validate_json(data)
    except ValidationError as error:
        raise ArtefactError(f"{source}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem: Any = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason


def write(schedule: Schedule, path: Path) -> None:
    """Write one artefact with all its tables, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(schedule.with_tables().model_dump_json(indent=1) + "\n")
    unfinished.replace(path)
