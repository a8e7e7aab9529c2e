"""Patterns: which rows of a table evaluate the unconditional branch, which run a smaller network, and what that costs.

A row between two fresh ones reuses the last unconditional output. With weight 0 that is a row without guidance, so
skipping is left to the rows before the first fresh one, which have nothing to reuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from schedules.table import OWN, UncondMode

# Shares of the rows at which the first and the last fresh one lie, best first: at pure noise both branches are nearly
# the same, and near the data an old unconditional output does.
_SPANS = ((0.17, 0.75), (0.1, 0.67), (0.17, 0.85), (0.0, 0.6))

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Smaller:
    """A network that rows may run instead of the model's own.

    Attributes:
        name: what tables call it.
        cost: of a forward, in forwards of the model's own, above 0.
    """

    name: str
    cost: float

    def __post_init__(self) -> None:
        if not self.name or self.cost <= 0:
            raise ValueError(f"smaller: must have a name and a cost above 0, is {self.name!r}, {self.cost}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Rows, which of them are fresh, and which run a smaller network.

    Attributes:
        rows: of the table, >= 1.
        fresh: rows that evaluate both branches, rising.
        small: rows that run the smaller network, rising.
        smaller: that network; needed where there are such rows.

    Raises:
        ValueError: a row that does not exist, or rows out of order; small rows and no network for them.
    """

    rows: int
    fresh: tuple[int, ...]
    small: tuple[int, ...] = ()
    smaller: Smaller | None = None

    def __post_init__(self) -> None:
        for name in ("fresh", "small"):
            rows = getattr(self, name)
            if list(rows) != sorted(set(rows)) or not set(rows) <= set(range(self.rows)):
                raise ValueError(f"{name}: must rise within 0..{self.rows - 1} without repeats, is {rows}")
        if self.small and self.smaller is None:
            raise ValueError("smaller: must say which network the small rows run")

    @property
    def modes(self) -> tuple[UncondMode, ...]:
        """Fresh, reused, or skipped before the first fresh row; length `rows`."""
        return tuple(self._mode(row) for row in range(self.rows))

    @property
    def networks(self) -> tuple[str, ...]:
        """The name of each row's network, length `rows`; empty where all run the model's own."""
        if self.smaller is None or not self.small:
            return ()
        return tuple(self.smaller.name if row in self.small else OWN for row in range(self.rows))

    @property
    def evaluations(self) -> float:
        """Forwards of a guided network for one image; those of the smaller one count as what they cost."""
        return sum(self._cost(row) for row in range(self.rows))

    @property
    def derivatives(self) -> int:
        """Forwards for all derivatives of one seed: moving a number repeats what comes after it; rounded up."""
        left = [sum(self._cost(later) for later in range(row, self.rows)) for row in range(self.rows + 1)]
        total = left[0] + sum((row + 2) * left[row + 1] + 2 * left[row] for row in range(self.rows))
        return int(-(-round(total, 9) // 1))

    def neighbours(self, evaluations: float) -> tuple[Pattern, ...]:
        """A fresh or a small row moved by one, or one kind of row given for others.

        Args:
            evaluations: most forwards for one image, of which the pattern leaves less than a row.
        """
        moved = [self._moved(row, step) for row in self.fresh for step in (-1, 1)]
        found = [each for each in (*moved, *self._swapped(), *self._respread(evaluations)) if each is not None]
        return tuple(dict.fromkeys(each for each in found if each != self))

    def _respread(self, evaluations: float) -> Iterator[Pattern | None]:
        """One fresh row given for a plain row, or the other way round; with small rows one row more or less, too."""
        for change in (-1, 1):
            exchanged = spread(self.rows + change, len(self.fresh) - change, *self._span())
            yield exchanged if not self.small else self._shrunk(exchanged, evaluations)
            if self.small:
                yield self._shrunk(spread(self.rows + change, len(self.fresh), *self._span()), evaluations)

    def _shrunk(self, other: Pattern | None, evaluations: float) -> Pattern | None:
        """Another pattern made to fit by the same network at the same end."""
        if other is None or self.smaller is None:
            return None
        return shrunk(other, evaluations, self.smaller, last=self.small[-1] == self.rows - 1)

    def _swapped(self) -> Iterator[Pattern]:
        """A small row and its neighbour change places."""
        for row in self.small:
            for other in (row - 1, row + 1):
                if 0 <= other < self.rows and other not in self.small and self._mode(row) == self._mode(other):
                    yield replace(self, small=tuple(sorted({*self.small, other} - {row})))

    def _cost(self, row: int) -> float:
        share = self.smaller.cost if self.smaller is not None and row in self.small else 1.0
        return share * (1 + (row in self.fresh))

    def _mode(self, row: int) -> UncondMode:
        if row in self.fresh:
            return "fresh"
        return "reused" if self.fresh and row > self.fresh[0] else "skipped"

    def _moved(self, row: int, step: int) -> Pattern | None:
        others = set(self.fresh) - {row}
        free = 0 <= row + step < self.rows and row + step not in others
        free = free and (row in self.small) == (row + step in self.small)  # or it would cost another sum
        return replace(self, fresh=tuple(sorted({*others, row + step}))) if free else None

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


def shrunk(pattern: Pattern, evaluations: float, smaller: Smaller, *, last: bool) -> Pattern | None:
    """A pattern that costs too much, with as few rows of a smaller network as make it fit.

    Args:
        pattern: without small rows.
        evaluations: most forwards for one image.
        smaller: the other network.
        last: whether its rows come last, or first.

    Returns:
        None where it fits as it is, or cannot be made to.
    """
    order = range(pattern.rows - 1, -1, -1) if last else range(pattern.rows)
    for count in range(pattern.rows + 1):
        made = replace(pattern, small=tuple(sorted(order[:count])), smaller=smaller)
        if made.evaluations <= evaluations + _ROUNDING:
            return made if count else None
    return None


def starting_patterns(evaluations: int, smaller: Smaller | None = None) -> tuple[Pattern, ...]:
    """A few patterns that cost so many forwards, from every second row fresh to every eighth.

    Guidance on every row is among them where the number is even. With a smaller network there are patterns that run it
    first or last; they cost as much, or less by no more than a row of it saves.

    Raises:
        ValueError: fewer than 1 evaluation.
    """
    if evaluations < 1:
        raise ValueError(f"evaluations: must be at least 1, is {evaluations}")
    mixed = [] if smaller is None else _mixed(evaluations, smaller)
    return tuple(dict.fromkeys([*_plain(evaluations, _SPANS), *mixed]))


def _mixed(evaluations: int, smaller: Smaller) -> list[Pattern]:
    """Patterns of somewhat more forwards, up to twice as many if the smaller network can make them, made to fit."""
    most = min(int(evaluations / smaller.cost + _ROUNDING), 2 * evaluations)
    dearer = sorted({evaluations + 2, 3 * evaluations // 2, most} & set(range(evaluations + 1, most + 1)))
    plain = (pattern for wanted in dearer for pattern in _plain(wanted, _SPANS[:1]))
    found = (shrunk(pattern, evaluations, smaller, last=last) for pattern in plain for last in (False, True))
    return [each for each in found if each is not None]


def _plain(evaluations: int, spans: Sequence[tuple[float, float]]) -> Iterator[Pattern]:
    """Patterns of the model's own network alone: a few shares of fresh rows, and guidance on every row."""
    counts = range(max(1, round(evaluations / 9)), max(1, evaluations // 3) + 1)
    found = (spread(evaluations - count, count, *span) for count in counts for span in spans)
    yield from (each for each in found if each is not None)
    if evaluations % 2 == 0:
        yield Pattern(evaluations // 2, tuple(range(evaluations // 2)))
    if evaluations == 1:
        yield Pattern(1, ())
