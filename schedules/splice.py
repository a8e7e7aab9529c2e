"""How an image that was begun with one budget goes on with another: the entries of an artefact, spliced."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from schedules.evidence import Evidence, Strict
from schedules.grids import MAX_STEPS
from schedules.stored_table import StoredTable
from schedules.table import Table, common_rows


class Splice(Strict):
    """The table that begins as one budget's does and ends as an image of another number of steps."""

    begun: int = Field(ge=2, le=MAX_STEPS, description="steps that the image was planned with")
    done: int = Field(ge=1, description="of these, those that were made")
    steps: int = Field(ge=2, le=MAX_STEPS, description="of the image in all, those included")
    sigmas: tuple[float, ...] = Field(
        min_length=3, max_length=MAX_STEPS + 1, description="of all steps; they may rise once, where it goes on"
    )
    table: StoredTable
    evidence: Evidence

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if not self.done < min(self.begun, self.steps):
            raise ValueError(f"done: must be less than {self.begun} and {self.steps} steps, is {self.done}")
        if self.begun == self.steps:
            raise ValueError(f"steps: must not be the {self.begun} that were begun")
        if len(self.sigmas) != self.steps + 1:
            raise ValueError(f"sigmas: {self.steps} steps need {self.steps + 1} sigmas, there are {len(self.sigmas)}")
        if len(self.table.t) != self.steps:
            raise ValueError(f"table: {self.steps} steps need as many rows, there are {len(self.table.t)}")
        return self

    @property
    def name(self) -> str:
        """Which of an artefact's splices it is."""
        return f"{self.begun} steps, after {self.done} to {self.steps}"

    def check(self, begun: Table) -> None:
        """Refuse to go on from what another table has made.

        Args:
            begun: the table of the budget that it begins with.

        Raises:
            ValueError: the first rows differ.
        """
        if common_rows(begun, self.table.table()) < self.done:
            raise ValueError(f"table: must begin with the {self.done} rows of the entry of {self.begun} steps")
