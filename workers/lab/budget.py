"""The search of one step budget: the best start, refined, against the best baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schedules.grids import GRIDS
from schedules.search.refine import Compile, RefineOptions, Split, grid_errors, refine
from schedules.table import FloatArray
from workers.lab.request import SearchRequest
from workers.lab.store import Json


@dataclass(frozen=True, eq=False)
class Found:
    """The grid of one budget.

    Attributes:
        sigmas: shape (steps + 1,), float64.
        source: "searched", or the name of the baseline that the validation seeds preferred.
        validation_error: pooled final error on the validation seeds, in the request's measure.
        baseline_error: the same of the best baseline.
    """

    sigmas: FloatArray
    source: str
    validation_error: float
    baseline_error: float

    def record(self) -> Json:
        """As plain numbers."""
        return {
            "sigmas": self.sigmas.tolist(),
            "source": self.source,
            "validation_error": self.validation_error,
            "baseline_error": self.baseline_error,
        }

    @classmethod
    def of(cls, record: Json) -> Found:
        """Read back."""
        errors = [float(str(record[name])) for name in ("validation_error", "baseline_error")]
        return cls(np.array(record["sigmas"], dtype=np.float64), str(record["source"]), *errors)


def search_budget(
    starts: list[FloatArray],
    compile_table: Compile,
    calibration: Split,
    validation: Split,
    request: SearchRequest,
    *,
    refine_evaluations: int,
) -> Found:
    """Refine the best of the starts and the baselines; the validation seeds say whether that was worth it.

    Args:
        starts: grids from the path search and from other budgets, equally long.
        compile_table: the solver.
        calibration: decides about moves.
        validation: decides what is kept.
        request: the switches.
        refine_evaluations: network evaluations of the refinement, per calibration seed; 0 only chooses.
    """
    names = list(request.baselines)
    baselines = [GRIDS[name](len(starts[0]) - 1) for name in names]
    errors = np.array(
        grid_errors(calibration.take(request.screen), [*starts, *baselines], compile_table, log=request.log)
    )
    start = [*starts, *baselines][int(errors.argmin())]
    options = RefineOptions(evaluations=refine_evaluations, log=request.log, free_start=request.free_start)
    found = refine(start, compile_table, calibration, validation, options)
    best = int(errors[len(starts) :].argmin())
    baseline_error = grid_errors(validation, [baselines[best]], compile_table, log=request.log)[0]
    if baseline_error <= found.validation_error:
        return Found(baselines[best], names[best], baseline_error, baseline_error)
    return Found(found.sigmas, "searched", found.validation_error, baseline_error)
