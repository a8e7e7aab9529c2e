"""A table as an artefact keeps it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, StringConstraints, field_validator, model_validator

from schedules.evidence import Strict
from schedules.table import BaseKind, Table, UncondMode

NAME = "[a-z0-9-]{1,24}"

NetworkName = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]


class StoredTable(Strict):
    """The table itself, where the sigmas alone do not give it: fitted, probed, or with searched guidance weights."""

    t: tuple[float, ...]
    c: tuple[float, ...]
    w: tuple[float, ...]
    uncond: tuple[UncondMode, ...]
    X: tuple[tuple[float, ...], ...]
    base: tuple[BaseKind, ...] = ("noise",)
    networks: tuple[NetworkName | Literal[""], ...] = Field(default=(), exclude_if=lambda networks: not networks)

    @classmethod
    def of(cls, table: Table) -> StoredTable:
        """Pack a table."""
        t, c, w = (tuple(values.tolist()) for values in (table.t, table.c, table.w))
        rows = tuple(map(tuple, table.X.tolist()))
        return cls(t=t, c=c, w=w, uncond=table.uncond, X=rows, base=table.base, networks=table.networks)

    def table(self) -> Table:
        """The checked table.

        Raises:
            TableError: the numbers are no sampler.
        """
        t, c, w, rows = (np.array(values) for values in (self.t, self.c, self.w, self.X))
        return Table(t, c, w, self.uncond, rows, self.base, networks=self.networks)

    @field_validator("X")
    @classmethod
    def _rectangular(cls, value: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if len({len(row) for row in value}) > 1:
            raise ValueError(f"rows must be equally long, are {[len(row) for row in value]}")
        return value

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        self.table()
        return self
