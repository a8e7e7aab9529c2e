"""How many jobs a worker holds at once: half as many from each time on that memory runs out for one more."""

from __future__ import annotations


class Seats:
    """Seats for jobs.

    Once there are to be fewer, nobody is seated before all who are have left: only then is their memory given up.

    Args:
        slots: at least 1.
        express: seats beside them, until memory runs out for the first time.
    """

    def __init__(self, slots: int, express: int = 0) -> None:
        self.count = slots + express
        self._slots = slots
        self._closed = False

    def closed(self, held: int) -> bool:
        """Whether, with so many held, nobody else is seated until the last has left."""
        self._closed = self._closed and held > 0
        return self._closed

    def has_one_for(self, held: int) -> bool:
        """Whether the last of so many held has a seat."""
        return held <= self.count and not self.closed(held - 1)

    def lower(self, held: int) -> None:
        """Have half as many, since memory ran out for the last of so many held."""
        self._slots = self.count = max(1, self._slots // 2)
        self._closed = held > 1
