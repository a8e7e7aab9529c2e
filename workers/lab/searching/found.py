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
    """

    sampler: Sampler
    source: str
    validation_error: float
    baseline_error: float

    @property
    def sigmas(self) -> FloatArray:
        """The noise levels, shape (steps + 1,), float64."""
        return self.sampler.sigmas

    def record(self) -> Json:
        """As plain numbers and text."""
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
        errors = [float(str(record[name])) for name in ("validation_error", "baseline_error")]
        return cls(sampler, str(record["source"]), *errors)
