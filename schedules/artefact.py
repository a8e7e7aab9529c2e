"""The schedule artefact: one JSON file per (model, solver), one entry for each step budget.

Strictly validated: unknown fields, wrong types and impossible numbers are refused with the field's name; nothing is
repaired.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schedules.table import FloatArray, Table, TableError, UncondMode

Prediction = Literal["flow", "epsilon", "v_prediction", "sample"]
MAX_STEPS = 1000


class ArtefactError(ValueError):
    """A schedule artefact that is malformed; the message names the field and the reason."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ValidFor(_Strict):
    """Where the schedule was shown to hold."""

    width: Annotated[tuple[int, int], Field(description="least and most pixels")]
    height: Annotated[tuple[int, int], Field(description="least and most pixels")]
    guidance_scale: Annotated[tuple[float, float], Field(description="least and most guidance scale")]


class Figure(_Strict):
    """A held-out figure with its bootstrap interval (95 %)."""

    mean: float
    low: float
    high: float


class Evidence(_Strict):
    """Measured on seeds and prompts that the search never saw, against the many-step teacher at equal seed."""

    psnr_db: Figure
    latent_mse: Figure
    task_score: float | None = Field(default=None, ge=0, le=1)
    seeds: int = Field(ge=1)
    seed_offset: int = Field(ge=0)
    teacher_steps: int = Field(ge=1)
    baselines_psnr_db: dict[str, Figure] = Field(default_factory=dict)


class Provenance(_Strict):
    """How the schedule came about, enough to make it again."""

    method: str
    parameters: dict[str, bool | int | float | str] = Field(default_factory=dict)
    teacher_steps: int = Field(ge=1)
    calibration_seeds: int = Field(ge=1)
    calibration_seed_offset: int = Field(ge=0)
    prompts_sha256: str
    date: str
    code_version: str


class LearnedTable(_Strict):
    """The table itself, for schedules whose coefficients were fitted."""

    t: tuple[float, ...]
    c: tuple[float, ...]
    w: tuple[float, ...]
    uncond: tuple[UncondMode, ...]
    X: tuple[tuple[float, ...], ...]

    def table(self) -> Table:
        """The checked table.

        Raises:
            TableError: the numbers are no sampler.
        """
        return Table(np.array(self.t), np.array(self.c), np.array(self.w), self.uncond, np.array(self.X))

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        self.table()
        return self


class Entry(_Strict):
    """The schedule of one step budget."""

    steps: int = Field(ge=1, le=MAX_STEPS)
    sigmas: tuple[float, ...] = Field(min_length=2, max_length=MAX_STEPS + 1)
    table: LearnedTable | None = None
    evidence: Evidence | None = None

    @field_validator("sigmas")
    @classmethod
    def _falling(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(b > a for a, b in zip(value, value[1:], strict=False)):
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


class Schedule(_Strict):
    """All budgets of one (model, solver)."""

    format: Literal["pacer-schedule/1"]
    model: str = Field(min_length=1)
    revision: str | None
    weights_sha256: str
    dtype: str
    quantization: str | None
    prediction: Prediction
    solver: str = Field(min_length=1)
    order: int = Field(ge=1)
    servable: bool = True
    valid_for: ValidFor
    provenance: Provenance
    entries: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _entries_in_order(self) -> Self:
        budgets = [entry.steps for entry in self.entries]
        if budgets != sorted(set(budgets)):
            raise ValueError(f"entries: steps must rise without repeats, are {budgets}")
        if self.solver == "learned" and any(entry.table is None for entry in self.entries):
            raise ValueError("entries: a learned schedule must carry its table")
        return self

    def entry(self, steps: int) -> Entry | None:
        """The entry of a step budget, if there is one."""
        return next((entry for entry in self.entries if entry.steps == steps), None)

    def entry_id(self, steps: int) -> str:
        """The name by which a caller asks for an entry: model/solver/steps."""
        return f"{self.model}/{self.solver}/{steps}"


def read(path: Path) -> Schedule:
    """Read and check one artefact file.

    Raises:
        ArtefactError: the file is malformed; names the file, the field and the reason.
    """
    return parse(path.read_bytes(), source=str(path))


def parse(data: bytes | str, *, source: str = "schedule") -> Schedule:
    """Check one artefact given as JSON text.

    Raises:
        ArtefactError: names the source, the field and the reason.
    """
    try:
        return Schedule.model_validate_json(data)
    except ValidationError as error:
        raise ArtefactError(f"{source}: {_first_problem(error)}") from error
    except TableError as error:
        raise ArtefactError(f"{source}: table: {error}") from error


def _first_problem(error: ValidationError) -> str:
    problem: Any = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "document"
    return f"{place}: {problem['msg']}"


def write(schedule: Schedule, path: Path) -> None:
    """Write one artefact, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(schedule.model_dump_json(indent=1) + "\n")
    unfinished.replace(path)
