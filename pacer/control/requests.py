"""A request as the batcher and its policies see it: numbers, no tensors."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from pacer.control.turns import TurnCost


@dataclass(frozen=True, slots=True)
class Request:
    """A request between two steps.

    Attributes:
        id: its name, unique among those admitted.
        key: what must be equal among requests that share a network call.
        rows: network rows of each of its E evaluations, each >= 1.
        deadline_s: when it must be done, on the clock that `pick` is given.
        step: evaluations done, 0..E; set by the batcher.
        admitted_s: when it came in, on the same clock.
    """

    id: str
    key: Hashable
    rows: tuple[int, ...]
    deadline_s: float
    step: int = 0
    admitted_s: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether all of its evaluations are done."""
        return self.step >= len(self.rows)

    @property
    def next_rows(self) -> int:
        """Network rows of its next evaluation."""
        return self.rows[self.step]

    @property
    def turns_left(self) -> int:
        """Evaluations that it still needs."""
        return len(self.rows) - self.step

    @property
    def rows_left(self) -> int:
        """Network rows that it still needs."""
        return sum(self.rows[self.step :])

    def work_left_s(self, cost: TurnCost) -> float:
        """Predicted seconds until it is done, alone."""
        return cost.seconds(self.turns_left, self.rows_left)

    def slack_s(self, now_s: float, cost: TurnCost) -> float:
        """Deadline - now - predicted remaining time, seconds; below 0 it will be late whatever is done."""
        return self.deadline_s - now_s - self.work_left_s(cost)
