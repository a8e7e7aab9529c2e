"""A quoted plan, when it is used: the same schedule, and a new look at the time."""

from __future__ import annotations

from msgspec.structs import replace

from pacer.control.limits import Forecast, Limits
from pacer.control.refusals import too_late
from pacer.jobs.messages import Plan
from schedules.table import Table


def kept(plan: Plan, table: Table, forecast: Forecast | None, *, latency_s: float | None, images: int) -> Plan:
    """The plan as it was quoted, its seconds predicted anew.

    Args:
        plan: what was quoted.
        table: its table.
        forecast: what workers measured, at the plan's size, and how long the wait is; None before they have measured.
        latency_s: most seconds from arrival to the images; None sets no bound.
        images: how many are asked for together.

    Raises:
        PacerError: there is no time for it now: the wait is not part of a quote.
    """
    if forecast is None:
        return plan
    turns = table.evaluations_count
    limits = Limits(steps=(plan.steps, plan.steps), latency_s=latency_s, forecast=forecast, images=images)
    if not limits.in_time(turns, plan.evaluations):
        what = f"{plan.steps} steps of schedule {plan.schedule!r}, as quoted,"
        raise too_late(limits, what, turns, plan.evaluations)
    return replace(plan, **forecast.times(turns, plan.evaluations, images))
