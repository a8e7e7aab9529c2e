"""Patterns: which rows of a table evaluate the unconditional branch, and what that costs.

A row between two fresh ones reuses the last unconditional output. With weight 0 that is a row without guidance, so
skipping is left to the rows before the first fresh one, which have nothing to reuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schedules.table import UncondMode

# Shares of the rows at which the first and the last fresh one lie, best first: at pure noise both branches are nearly
# the same, and near the data an old unconditional output does.
_SPANS = ((0.17, 0.75), (0.1, 0.67), (0.17, 0.85), (0.0, 0.6))


@dataclass(frozen=True, slots=True)
class Pattern:
    """Rows and which of them are fresh.

    Attributes:
        rows: of the table, >= 1.
        fresh: rows that evaluate both branches, rising.

    Raises:
        ValueError: a fresh row that does not exist, or rows out of order.
    """

    rows: int
    fresh: tuple[int, ...]

    def __post_init__(self) -> None:
        if list(self.fresh) != sorted(set(self.fresh)) or not set(self.fresh) <= set(range(self.rows)):
            raise ValueError(f"fresh: must rise within 0..{self.rows - 1} without repeats, is {self.fresh}")

    @property
    def modes(self) -> tuple[UncondMode, ...]:
        """Fresh, reused, or skipped before the first fresh row; length `rows`."""
        return tuple(self._mode(row) for row in range(self.rows))

    @property
    def evaluations(self) -> int:
        """Forwards of a guided network for one image."""
        return self.rows + len(self.fresh)

    @property
    def derivatives(self) -> int:
        """Forwards for all derivatives of one seed: moving a number repeats what comes after it."""
        left = [self.rows - row + sum(place >= row for place in self.fresh) for row in range(self.rows + 1)]
        return left[0] + sum((row + 2) * left[row + 1] + 2 * left[row] for row in range(self.rows))

    def neighbours(self) -> tuple[Pattern, ...]:
        """As dear: one fresh row moved by one, or one fresh row given for a plain row, or the other way round."""
        moved = [self._moved(row, step) for row in self.fresh for step in (-1, 1)]
        changed = [spread(self.rows + change, len(self.fresh) - change, *self._span()) for change in (-1, 1)]
        return tuple(each for each in (*moved, *changed) if each is not None)

    def _mode(self, row: int) -> UncondMode:
        if row in self.fresh:
            return "fresh"
        return "reused" if self.fresh and row > self.fresh[0] else "skipped"

    def _moved(self, row: int, step: int) -> Pattern | None:
        others = set(self.fresh) - {row}
        free = 0 <= row + step < self.rows and row + step not in others
        return Pattern(self.rows, tuple(sorted({*others, row + step}))) if free else None

    def _span(self) -> tuple[float, float]:
        """Where the fresh rows lie, as shares of the rows."""
        return (self.fresh[0] / self.rows, self.fresh[-1] / self.rows) if self.fresh else _SPANS[0]


def spread(rows: int, count: int, first: float, last: float) -> Pattern | None:
    """So many fresh rows, evenly between two shares of the rows; None where they do not fit.

    Args:
        rows: of the table.
        count: fresh rows.
        first: share of the rows before the first fresh one, 0..1.
        last: the same of the last one.
    """
    if not 0 <= count <= rows or rows < 1:
        return None
    low = min(round(first * rows), rows - count)
    high = max(min(round(last * rows), rows - 1), low + count - 1)
    gap = (high - low) / max(1, count - 1)
    return Pattern(rows, tuple(low + round(place * gap) for place in range(count)))


def starting_patterns(evaluations: int) -> tuple[Pattern, ...]:
    """A few patterns that cost exactly so many forwards, from every second row fresh to every eighth.

    Guidance on every row is among them where the number is even.

    Raises:
        ValueError: fewer than 1 evaluation.
    """
    if evaluations < 1:
        raise ValueError(f"evaluations: must be at least 1, is {evaluations}")
    counts = range(max(1, round(evaluations / 9)), max(1, evaluations // 3) + 1)
    found: Iterable[Pattern | None] = (spread(evaluations - count, count, *span) for count in counts for span in _SPANS)
    full = [Pattern(evaluations // 2, tuple(range(evaluations // 2)))] if evaluations % 2 == 0 else []
    plain = [Pattern(1, ())] if evaluations == 1 else []
    return tuple(dict.fromkeys([*(each for each in found if each is not None), *full, *plain]))
