"""Seats beside a worker's slots, for promises that must not wait until a slot is free.

A turn can set any request aside, but not make room for another: slots full of long patient images would keep out what
was promised meanwhile. So promises have seats of their own when all slots are taken. The last ones are kept for those
that are in a hurry, or far deadlines would fill them as patient images fill the slots. docs/experiments.md, "promises
that waited for a slot", has the trials behind the constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Self

_SHARE = 0.5
"""Of the slots, so many more seats."""
_HALVINGS = 8
"""Times that the time within which a promise must start is halved, from the first of these seats to the last taken."""


@dataclass(frozen=True, slots=True)
class Express:
    """Who may sit beside the slots.

    Attributes:
        seats: how many, at least 0.
        slack_s: within which a promise must start to be given the first of them, seconds.
    """

    seats: int
    slack_s: float

    @classmethod
    def beside(cls, slots: int, slack_s: float) -> Self:
        """Those of a worker with so many slots, where what has no deadline is given so much slack."""
        return cls(ceil(_SHARE * slots), slack_s)

    def starts_within_s(self, taken: int) -> float | None:
        """Seconds within which a promise must start to be given a seat; None where so many taken leave none."""
        if taken >= self.seats:
            return None
        return float(self.slack_s * 2.0 ** (-_HALVINGS * taken / self.seats))
