"""What a turn costs: one network call for all rows of a batch takes a fixed time and a time for each row."""

from __future__ import annotations

from dataclasses import dataclass

_WEIGHT = 0.1  # of the newest gap


@dataclass(frozen=True, slots=True)
class TurnCost:
    """Seconds of a turn as a line over its rows.

    Attributes:
        turn_s: what a turn costs whatever is in it, seconds, at least 0.
        row_s: what each of its rows adds, seconds, at least 0.
    """

    turn_s: float
    row_s: float

    def seconds(self, turns: int, rows: int) -> float:
        """Seconds of so many turns that hold so many rows together."""
        return turns * self.turn_s + rows * self.row_s


class Gaps:
    """Seconds between turns that follow on each other, a moving average: prompts and pictures that steps wait for."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """Take in what lay between two turns."""
        self.seconds += _WEIGHT * (seconds - self.seconds)

    def between(self, cost: TurnCost) -> TurnCost:
        """What a turn costs with what comes before the next."""
        return TurnCost(cost.turn_s + self.seconds, cost.row_s)
