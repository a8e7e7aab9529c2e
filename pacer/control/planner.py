"""From what a caller can spend to what will be run: which schedule, how many evaluations, what to expect for it.

Pure functions over numbers: the registry and the measured speed come in, a plan and its table go out.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from pacer.control.budget_request import BudgetRequest, check_bounds, check_guidance, invalid
from pacer.control.by_id import by_id
from pacer.control.by_limits import by_limits
from pacer.control.choice import Choice, from_grid, from_sigmas
from pacer.control.entry_level import check_strength, from_picture
from pacer.control.evaluations import forwards
from pacer.control.figures import figures_of
from pacer.control.held import best_choice, nearest_choice
from pacer.control.inflow import is_open, yields
from pacer.control.latency_spread import NO_TIMES
from pacer.control.limits import Forecast, Limits
from pacer.control.picture_size import Weight, sized_forwards
from pacer.control.refusals import EVALUATIONS, below_floor, too_late
from pacer.jobs.messages import Plan
from pacer.models import ModelCard
from schedules.evidence import KEPT_BY
from schedules.registry import Registry
from schedules.table import Table


def plan(
    request: BudgetRequest,
    registry: Registry,
    forecast: Forecast | None,
    *,
    default_steps: int = 10,
    max_steps: int = 100,
    degrade_at: float = 1.0,
) -> tuple[Plan, Table]:
    """Decide what to run for a request.

    Args:
        request: what the caller can spend, and what it must get for that.
        registry: the schedules at hand.
        forecast: what workers measured, and how long the wait is; None before they have measured.
        default_steps: the budget of a request that bounds nothing from above; a distilled model has its own.
        max_steps: the largest budget allowed.
        degrade_at: share of what may be promised from which on requests that accept fewer steps do not get the most.

    Raises:
        PacerError: invalid_request, schedule_not_found or schedule_mismatch, naming the field and what is allowed;
            deadline_unreachable where only the wait is in the way.
    """
    check_guidance(request)
    check_bounds(request, max_steps)
    forecast = None if forecast is None else forecast.at(request.pixels)
    if request.picture is not None:
        check_strength(request.picture)
    limits = _limits(request, forecast, default_steps, max_steps, degrade_at)
    if request.picture is None or request.picture.is_unseen:
        choice = _choose(request, limits, registry, default_steps, max_steps)
    else:
        choice = from_picture(request, request.picture, limits, default_steps, max_steps)
    evaluations = choice.network_evaluations(request.branch_scale)
    _check_met(request, limits, choice, evaluations)
    return describe(request, choice, evaluations, forecast), choice.table


def describe(request: BudgetRequest, choice: Choice, evaluations: int, forecast: Forecast | None) -> Plan:
    """A choice as it is quoted: what it takes, and what to expect for it; the forecast is of the request's size."""
    evidence, turns = None if request.lora else choice.evidence, choice.table.evaluations_count
    times = NO_TIMES if forecast is None else forecast.times(turns, evaluations, request.images)
    weight = Weight(request.relative_pixels) if forecast is None else forecast.weight
    return Plan(
        model=request.card.id,
        schedule=choice.name,
        solver=choice.solver,
        steps=len(choice.sigmas) - 1,
        evaluations=evaluations,
        sigmas=choice.sigmas,
        **figures_of(evidence),
        **times,
        other_model=choice.other_model,
        interpolated=choice.interpolated,
        by_prompt=choice.by_prompt,
        lora=request.lora,
        sized_forwards=sized_forwards(weight, evaluations),
    )


def _limits(
    request: BudgetRequest, forecast: Forecast | None, default_steps: int, max_steps: int, degrade_at: float
) -> Limits:
    """The bounds of a request; one that sets none from above, or none that can be reckoned with, has the default."""
    reckoned = request.latency_s is not None and forecast is not None
    bounded = reckoned or request.floored or request.evaluations is not None or request.max_steps is not None
    least = request.min_steps or 1
    cap = inf
    most = min(request.max_steps or max_steps, max_steps)
    if not bounded and request.leaves_steps_open:
        most = max(least, _default(request.card, default_steps, max_steps))
    if forecast is not None and request.latency_s is not None and is_open(request):
        cap = forecast.cap((least, most), forwards(request.branch_scale), request.latency_s)
    limits = Limits(
        steps=(least, most) if request.steps is None else (request.steps, request.steps),
        evaluations=request.evaluations,
        latency_s=request.latency_s,
        psnr_db=request.min_psnr_db,
        quality=request.min_quality,
        kept_by=KEPT_BY if request.kept_by is None else request.kept_by,
        forecast=forecast,
        images=request.images,
        degrade_at=degrade_at,
        cap=cap,
    )
    return limits.yielding(forwards(request.branch_scale)) if yields(request) else limits


def _choose(request: BudgetRequest, limits: Limits, registry: Registry, default_steps: int, max_steps: int) -> Choice:
    if request.sigmas is not None:
        return from_sigmas(request, request.sigmas, max_steps)
    if request.schedule is not None and "/" in request.schedule:
        return by_id(request, request.schedule, registry, max_steps)
    if request.leaves_steps_open:
        return by_limits(request, limits, registry)
    steps = request.steps or _default(request.card, default_steps, max_steps)
    if request.schedule is not None:
        return from_grid(request, request.schedule, steps)
    if request.card.distilled:
        return from_grid(request, request.card.grid, steps)
    unbounded = replace(limits, evaluations=None, latency_s=None)
    named = replace(request, allow_interpolated=False)
    return (
        best_choice(request, limits, steps, registry)
        or nearest_choice(request, limits, steps, registry)
        # What is beyond the bounds is refused by its own numbers: a grid of these steps takes no less.
        or nearest_choice(named, unbounded, steps, registry)
        or from_grid(request, request.card.grid, steps)
    )


def _check_met(request: BudgetRequest, limits: Limits, choice: Choice, evaluations: int) -> None:
    """Refuse what was named beside the budget and does not keep to it."""
    steps, turns = len(choice.sigmas) - 1, choice.table.evaluations_count
    if limits.evaluations is not None and evaluations > limits.evaluations:
        scale = f"at {request.branch_field} {request.branch_scale:g}"
        taken = f"{_named(choice)} take {evaluations} {scale}, the budget says {limits.evaluations}"
        raise invalid(EVALUATIONS, taken)
    if not limits.in_time(turns, evaluations):
        raise too_late(limits, _named(choice), turns, evaluations)
    if request.steps is None and request.leaves_steps_open and not limits.steps[0] <= steps <= limits.steps[1]:
        allowed = f"{limits.steps[0]} to {limits.steps[1]} steps"
        raise invalid("budget.steps", f"{_named(choice)} are not within {allowed}")
    if not limits.reached_by(choice.evidence):
        failing = limits.failing(lambda floor: floor.reached_by(choice.evidence))
        raise below_floor(failing, _named(choice), measured=choice.evidence is not None)


def _named(choice: Choice) -> str:
    return f"{len(choice.sigmas) - 1} steps of schedule {choice.name!r} under solver {choice.solver!r}"


def _default(card: ModelCard, default_steps: int, max_steps: int) -> int:
    """The budget of a request that names none; a card's own may be more than is allowed here."""
    steps = card.default_steps(default_steps)
    if steps > max_steps:
        raise invalid("steps", f"the default of {card.id} is {steps}; name a budget, in 1 to {max_steps}")
    return steps
