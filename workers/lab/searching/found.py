"""What a search found for one budget, and how it is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schedules.artefact import StoredTable
from schedules.search.method import Sampler
from schedules.table import FloatArray
from workers.lab.store import Json

SEARCHED = "searched"
"""The source of a sampler that is not a baseline's."""


@dataclass(frozen=True, eq=False)
class Found:
    """The sampler of one budget.

    Attributes:
        sampler: noise levels and table.
        source: SEARCHED, or the name of the baseline that the validation seeds preferred.
        validation_error: pooled final error on the validation seeds, in the request's measure.
        baseline_error: the same of the best baseline.
        evaluations: forwards of the network that the search of this budget took; None where that was not counted.
        seconds: of wall-clock for the same.
    """

    sampler: Sampler
    source: str
    validation_error: float
    baseline_error: float
    evaluations: int | None = None
    seconds: float | None = None

    @property
    def sigmas(self) -> FloatArray:
        """The noise levels, shape (steps + 1,), float64."""
        return self.sampler.sigmas

    def record(self) -> Json:
        """As plain numbers and text, without what it cost."""
        return {
            "sigmas": self.sigmas.tolist(),
            "table": StoredTable.of(self.sampler.table).model_dump_json(),
            "source": self.source,
            "validation_error": self.validation_error,
            "baseline_error": self.baseline_error,
        }

    @classmethod
    def of(cls, record: Json) -> Found:
        """Read back."""
        table = StoredTable.model_validate_json(str(record["table"])).table()
        sampler = Sampler(np.array(record["sigmas"], dtype=np.float64), table)
        counted = "evaluations" in record
        return cls(
            sampler,
            str(record["source"]),
            float(str(record["validation_error"])),
            float(str(record["baseline_error"])),
            evaluations=int(str(record["evaluations"])) if counted else None,
            seconds=float(str(record["seconds"])) if counted else None,
        )
