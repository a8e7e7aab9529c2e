"""Whether a request that is under way goes on with another schedule: decided as at admission, with what is left to do.

Who was given few steps in a crowd gets more where it has gone by the time that they are drawn; who would be late goes
on with fewer. What a request has behind it stays, so that a way to go on is a schedule that begins with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pacer.control.budget_request import BudgetRequest
from pacer.control.inflow import is_open
from pacer.control.limits import Forecast, Limits
from pacer.control.load import Load
from pacer.jobs.messages import Leeway

SETTLED_S = 0.25
"""Seconds from a request's arrival until which the gateway's plan is new enough, unless it has begun."""


@dataclass(frozen=True, slots=True)
class Way:
    """A schedule that a request can go on with.

    Attributes:
        steps: its budget.
        rows: network rows of each of its evaluations, those behind the request included.
        psnr_db: mean PSNR of its pictures to the teacher's, as measured; -inf where nobody did.
    """

    steps: int
    rows: tuple[int, ...]
    psnr_db: float

    def left(self, done: int) -> tuple[int, int]:
        """Evaluations and forwards that are to be made after so many."""
        rows = self.rows[done:]
        return len(rows), sum(rows)


@dataclass(frozen=True, slots=True)
class Underway:
    """A request with a deadline between two of its evaluations.

    Attributes:
        way: how it goes on as it is.
        done: evaluations behind it.
        due_s: seconds from now until it is due.
        allowed_s: seconds from its arrival until then.
        leeway: what its caller left open.
        pixels: of its picture; 0 where nobody said them.
    """

    way: Way
    done: int
    due_s: float
    allowed_s: float
    leeway: Leeway
    pixels: int = 0

    @property
    def each(self) -> int:
        """Forwards of one of its evaluations, about."""
        return -(-sum(self.way.rows) // len(self.way.rows))


def leeway_of(request: BudgetRequest, max_steps: int) -> Leeway | None:
    """What a request leaves open; None where it says what it wants, or nothing is known of schedules for it.

    Args:
        request: as it came in.
        max_steps: the largest budget allowed.
    """
    if not is_open(request) or request.lora:
        return None
    most = min(request.max_steps or max_steps, max_steps)
    return Leeway(request.min_steps or 1, most, request.evaluations)


def another_way(request: Underway, others: Sequence[Way], load: Load, *, degrade_at: float = 1.0) -> Way | None:
    """The best way to go on, if it is another than the request's own.

    Better pictures are given where they can be promised as to a request that comes in now; others only where its own
    way would take longer than there is time, whoever else is there.

    Args:
        request: as it is.
        others: ways that begin with what it has behind it.
        load: what workers have before them, the request's own work included.
        degrade_at: as `plan` takes it.
    """
    if request.due_s <= 0:
        return None
    limits = _limits(request, load, degrade_at)
    for way in sorted(others, key=lambda each: each.psnr_db, reverse=True):
        if way.psnr_db > request.way.psnr_db and _affords(limits, way, request.done):
            return way
    if _service_s(limits, request.way, request.done) <= request.due_s:
        return None
    in_time = [way for way in others if _service_s(limits, way, request.done) <= request.due_s]
    allowed = [way for way in in_time if limits.steps[0] <= way.steps <= limits.steps[1]]
    return max(allowed, key=lambda each: each.psnr_db, default=None)


def _limits(request: Underway, load: Load, degrade_at: float) -> Limits:
    weight = Forecast(load.speed).at(request.pixels).weight
    others = load.more(request.due_s, -round(weight.of(request.way.left(request.done)[1])), -1)
    forecast = Forecast.of(others, request.due_s, each=request.each).at(request.pixels)
    steps = request.leeway.least_steps, request.leeway.most_steps
    return Limits(
        steps=steps,
        evaluations=request.leeway.evaluations,
        latency_s=request.due_s,
        forecast=forecast,
        degrade_at=degrade_at,
        cap=forecast.cap(steps, request.each, request.allowed_s),
    )


def _affords(limits: Limits, way: Way, done: int) -> bool:
    return limits.affords(way.steps, len(way.rows), sum(way.rows), left=way.left(done))


def _service_s(limits: Limits, way: Way, done: int) -> float:
    return 0.0 if limits.forecast is None else limits.forecast.service_s(*way.left(done))
