"""What a turn costs: one network call for all rows of a batch takes a fixed time and a time for each row."""

from __future__ import annotations

from dataclasses import dataclass, replace

_WEIGHT = 0.1  # of the newest gap
_FADES = 0.993  # what is left of an overrun a turn later; half of it after a hundred turns
_MOST = 1.0  # share of a turn: a worker that stood still once is not slow from then on


@dataclass(frozen=True, slots=True)
class TurnCost:
    """Seconds of a turn as a line over its rows.

    Attributes:
        turn_s: what a turn costs whatever is in it, seconds, at least 0.
        row_s: what each of its rows adds, seconds, at least 0.
        overrun: by what share a turn may last longer than that, at least 0.
    """

    turn_s: float
    row_s: float
    overrun: float = 0.0

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
        return replace(cost, turn_s=cost.turn_s + self.seconds)


class Overruns:
    """By what share turns lasted longer than was predicted: the most of late, fading."""

    def __init__(self) -> None:
        self.share = 0.0

    def note(self, seconds: float, predicted_s: float) -> None:
        """Take in a turn, with what came before it."""
        over = min(seconds / predicted_s - 1, _MOST) if predicted_s > 0 else 0.0
        self.share = max(_FADES * self.share, over)
