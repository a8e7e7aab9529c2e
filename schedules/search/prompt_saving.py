"""What is saved where each prompt gets the steps that it needs: against one budget for all, at equal mean quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schedules.table import FloatArray


@dataclass(frozen=True, slots=True)
class Saving:
    """One rule of choosing budgets against fixed ones.

    Attributes:
        floor: that the expected quality of every prompt must reach.
        quality: mean measured.
        evaluations: mean spent.
        fixed: evaluations with which fixed budgets reach that mean quality, between two of them in proportion.
    """

    floor: float
    quality: float
    evaluations: float
    fixed: float

    @property
    def share(self) -> float:
        """Of the fixed evaluations, that are saved."""
        return 1 - self.evaluations / self.fixed


def saving(floor: float, expected: FloatArray, measured: FloatArray, evaluations: FloatArray) -> Saving:
    """Give each prompt the cheapest budget that is expected to reach a floor, or the dearest where none is.

    Args:
        floor: of the expected quality.
        expected: quality of each prompt and budget, shape (P, K).
        measured: the same as it came to be, shape (P, K).
        evaluations: of the budgets, rising, shape (K,).
    """
    reached = expected >= floor
    chosen = np.where(reached.any(1), reached.argmax(1), len(evaluations) - 1)
    quality = float(measured[np.arange(len(chosen)), chosen].mean())
    means = np.maximum.accumulate(measured.mean(0))
    fixed = float(np.interp(quality, means, evaluations))
    return Saving(floor, quality, float(evaluations[chosen].mean()), fixed)
