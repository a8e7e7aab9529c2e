"""From a validated body to a plan. Everything that can be refused of a request itself is refused here."""

from __future__ import annotations

import re
from typing import NamedTuple

from app.gateway import Gateway
from app.schemas.budget import Budget
from app.schemas.requests import ImagesRequest, PlanFields
from app.tiers import with_tier
from pacer.control.budget_request import BudgetRequest
from pacer.control.evaluations import forwards
from pacer.control.inflow import inflow_of
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Lora, Plan
from pacer.jobs.owners import EVERYBODY
from pacer.loras import choose
from pacer.models import ModelCard
from schedules.table import Table

_SIZE = re.compile(r"([0-9]+)x([0-9]+)")


class Quoted(NamedTuple):
    """A plan, and what it was made on.

    Attributes:
        plan: what will be run.
        table: of it.
        promises: those of the load at that time; None where nothing is known of it.
    """

    plan: Plan
    table: Table
    promises: int | None = None


def count_of(n: int | None, gateway: Gateway) -> int:
    """How many images a request asks for.

    Raises:
        PacerError: invalid_request.
    """
    most = gateway.settings.max_images
    if n is not None and not 1 <= n <= most:
        raise _invalid("n", f"must lie in 1 to {most}, is {n}")
    return n or 1


async def quote(request: BudgetRequest, gateway: Gateway, owner: str = EVERYBODY, *, comes: bool = False) -> Quoted:
    """The plan of an owner's request, predicted with what workers measured; `comes` counts it as one to be drawn now.

    Raises:
        PacerError: the request is wrong, or store_unavailable.
    """
    came = None
    if comes:
        # What has no deadline counts nothing. What has one is planned without the load first: what is wrong must not
        # count as having come, and of fixed steps the forwards do.
        counts = request.latency_s is not None
        came = inflow_of(request, _plan(request, gateway, None)[0].evaluations if counts else 0)
    try:
        load = await gateway.store.load(request.card.id, came, owner)
    except PacerError:
        _plan(request, gateway, None)  # a wrong request is told so whatever state the store is in
        raise
    if load is None:
        return Quoted(*_plan(request, gateway, None))
    slack_s = gateway.settings.best_effort_slack_s
    forecast = Forecast.of(load, request.latency_s, owner, each=forwards(request.branch_scale), slack_s=slack_s)
    return Quoted(*_plan(request, gateway, forecast), load.promises)


def _plan(request: BudgetRequest, gateway: Gateway, forecast: Forecast | None) -> tuple[Plan, Table]:
    settings = gateway.settings
    return plan(
        request,
        gateway.registry,
        forecast,
        default_steps=settings.default_steps,
        max_steps=settings.max_steps,
        degrade_at=settings.degrade_at,
    )


def budget_request(fields: PlanFields, gateway: Gateway) -> BudgetRequest:
    """What planning needs of a request.

    Raises:
        PacerError: model_not_found, or invalid_request on size or contradictory budgets.
    """
    card = gateway.card(fields.model)
    width, height = size_of(fields.size, card)
    budget = _budget(fields, gateway, card)
    return BudgetRequest(
        card=card,
        guidance_scale=card.guidance_scale if fields.guidance_scale is None else fields.guidance_scale,
        true_cfg_scale=1.0 if fields.true_cfg_scale is None else fields.true_cfg_scale,
        width=width,
        height=height,
        steps=_steps(fields, budget, gateway),
        **({} if budget is None else budget.bounds()),
        schedule=fields.schedule,
        solver=fields.solver,
        sigmas=None if fields.sigmas is None else tuple(fields.sigmas),
        allow_other_model=bool(fields.allow_other_model),
        allow_interpolated=bool(fields.allow_interpolated),
        lora=_loras(fields, gateway, card),
    )


def _loras(fields: PlanFields, gateway: Gateway, card: ModelCard) -> tuple[Lora, ...]:
    """What a request names, by name: the order in which LoRAs are added means nothing."""
    named = sorted(fields.lora or (), key=lambda lora: lora.name)
    if named and gateway.settings.batch_invariant:
        raise _invalid("lora", "is not offered in batch-invariant mode (PACER_BATCH_INVARIANT)")
    if named and not card.loras:
        raise _invalid("lora", f"{card.id} takes none; its pipeline has no loader for them")
    loras = tuple(Lora(lora.name, lora.scale) for lora in named)
    choose(loras, gateway.settings.lora_dir, card.id)
    return loras


def _budget(fields: PlanFields, gateway: Gateway, card: ModelCard) -> Budget | None:
    """What the request says, and its quality level for it; a distilled model has its own steps at every level."""
    level = fields.quality_level if isinstance(fields, ImagesRequest) else None
    if level is None or (card.distilled is not None and level not in gateway.settings.quality_budgets):
        return fields.budget
    return with_tier(fields.budget, level, gateway.tiers[level])


def _steps(fields: PlanFields, budget: Budget | None, gateway: Gateway) -> int | None:
    """The one step budget that the fields agree on, if they name any."""
    settings = gateway.settings
    named: dict[str, int] = {}
    if budget is not None and budget.steps is not None:
        by_level = fields.budget is None or fields.budget.steps is None
        named["quality" if by_level else "budget.steps"] = budget.steps
    if fields.num_inference_steps is not None:
        named["num_inference_steps"] = fields.num_inference_steps
    for field, steps in named.items():
        if not 1 <= steps <= settings.max_steps:
            raise _invalid(field, f"must lie in 1 to {settings.max_steps}, is {steps}")
    if len(set(named.values())) > 1:
        said = ", ".join(f"{field} says {steps}" for field, steps in named.items())
        raise _invalid(next(iter(named)), f"the budgets contradict each other: {said} steps; give one of them")
    return next(iter(named.values()), None)


def size_of(size: str | None, card: ModelCard) -> tuple[int, int]:
    """Width and height in pixels that a request names; the model's own where it names none.

    Raises:
        PacerError: invalid_request.
    """
    if size is None or size == "auto":
        return card.default_size
    match = _SIZE.fullmatch(size)
    if match is None or not card.allows(int(match[1]), int(match[2])):
        raise _invalid("size", f"{card.id} draws {card.sizes}, not {size}")
    return int(match[1]), int(match[2])


def _invalid(field: str, detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)
