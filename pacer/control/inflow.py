"""What comes in with a deadline, a second: the arrivals that the step cap is reckoned from.

Who finds nobody there is not counted, as it shares the workers with nobody: a caller who asks for one image after the
other comes often, and yet never waits. Counts fade exponentially, so that a rate is kept in one number and no arrival
is remembered.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pacer.control.budget_request import BudgetRequest

FADES_S = 8.0
"""Seconds in which a count fades to 1/e: longer than a burst, shorter than a change of the traffic."""
FORGOTTEN = 3
"""Times that long after which what came before says nothing any more, and the count begins anew."""
LEAST_S = 1.0
"""Seconds that a rate is of at the least, just after the count began."""


class Inflow(NamedTuple):
    """Images with a deadline: of one request, or a second of late.

    Attributes:
        images: how many.
        open_images: of these, that leave their steps open; of the default size that take as long, by their pixels.
        forwards: of the network, for those whose steps are fixed, likewise.
    """

    images: float = 0.0
    open_images: float = 0.0
    forwards: float = 0.0


def inflow_of(request: BudgetRequest, evaluations: int) -> Inflow:
    """What a request adds; nothing without a deadline, as it yields to those that have one.

    Args:
        request: as it came in.
        evaluations: forwards of one of its images where nobody is in its way.
    """
    if request.latency_s is None:
        return Inflow()
    sized = request.images * request.relative_pixels
    return Inflow(request.images, sized) if is_open(request) else Inflow(request.images, 0.0, sized * evaluations)


def is_open(request: BudgetRequest) -> bool:
    """Whether it has a deadline, and takes fewer steps where there is no time for more."""
    return request.latency_s is not None and _is_range(request)


def yields(request: BudgetRequest) -> bool:
    """Whether it has no deadline, and names the fewest steps that it takes in a crowd, and the most."""
    named = request.min_steps is not None and request.max_steps is not None
    return request.latency_s is None and named and _is_range(request)


def _is_range(request: BudgetRequest) -> bool:
    by_id = request.schedule is not None and "/" in request.schedule
    named = by_id or request.steps is not None or request.sigmas is not None
    fixed = named or request.floored or request.card.distilled is not None
    least, most = request.min_steps or 1, request.max_steps or math.inf
    return not fixed and least < most


class InflowMeter:
    """The rate of arrivals that find others there, as the store keeps it."""

    def __init__(self) -> None:
        self._counts = Inflow()
        self._at_s = self._since_s = -math.inf

    def note(self, came: Inflow, now_s: float) -> Inflow:
        """Take in what comes now; returns the rate a second, this included."""
        if now_s - self._at_s > FORGOTTEN * FADES_S:
            self._counts, self._since_s = Inflow(), now_s
        fades = math.exp(min(0.0, self._at_s - now_s) / FADES_S)
        self._counts = Inflow(*(fades * before + more for before, more in zip(self._counts, came, strict=True)))
        self._at_s = now_s
        seen_s = FADES_S * (1 - math.exp((self._since_s - now_s) / FADES_S))
        return Inflow(*(count / max(LEAST_S, seen_s) for count in self._counts))
