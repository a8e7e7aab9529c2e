"""From a validated body to planned jobs. Everything that can be refused is refused here, before the queue."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TypedDict

import msgspec

from app.binding import check_picture, quoted_fields
from app.gateway import Gateway
from app.pictures import Source, sized
from app.schemas.budget import Budget
from app.schemas.requests import MAX_SEED, DrawFields, ImagesRequest, PlanFields
from pacer.control.budget_request import BudgetRequest
from pacer.control.evaluations import forwards
from pacer.control.inflow import inflow_of
from pacer.control.kept import kept
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.control.replan import leeway_of
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.bound_plans import BoundPlan
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Job, Lora, PictureFiles, Plan, TableMessage
from pacer.jobs.owners import EVERYBODY
from pacer.loras import choose
from pacer.models import ModelCard, count_words
from schedules.table import Table

_RANDOM_SEED_BITS = 32
"""Small enough for every JSON reader to hold exactly."""

_SIZE = re.compile(r"([0-9]+)x([0-9]+)")


@dataclass(frozen=True, slots=True)
class Order:
    """What a request comes to: jobs of one plan, seeds rising by one."""

    card: ModelCard
    plan: Plan
    jobs: tuple[Job, ...]
    files: PictureFiles | None = None
    """Of the picture that they start from."""
    branch_scale: float = 1.0
    """Between a step's two evaluations; 1 where there is one."""
    ignored: tuple[str, ...] = ()
    """Fields that mean nothing in this plan: the image, where nothing of it is left at the start."""

    @property
    def seed(self) -> int:
        """The first image's."""
        return self.jobs[0].seed


async def take(
    fields: DrawFields,
    gateway: Gateway,
    *,
    count: int = 1,
    source: Source | None = None,
    owner: str = EVERYBODY,
) -> Order:
    """Judge an owner's drawing request, plan it and write its jobs; `source` is the picture that they start from.

    Raises:
        PacerError: of the kind and field that is wrong; nothing was queued.
    """
    bound = None
    if fields.plan_id is not None:
        bound = await gateway.bound_plans.find(fields.plan_id, owner)
        fields = quoted_fields(fields, bound, count)
    card = gateway.card(fields.model)
    check_words(fields.prompt, "prompt", gateway, card)
    check_words(fields.negative_prompt or "", "negative_prompt", gateway, card)
    seed = _seed(fields.seed, count)
    request = replace(_request(fields, gateway, card, source), images=count, prompt=fields.prompt)
    if bound is None:
        planned, table = await quote(request, gateway, owner, draws=True)
    else:
        request = replace(request, latency_s=bound.latency_s)
        planned, table = await _quoted(request, bound, gateway, owner)
    packed = TableMessage.of(table)
    seen = source if "image" in packed.base else None
    first = _job(fields, request, planned, table=packed, seed=seed, embed=gateway.settings.embed_metadata)
    first = msgspec.structs.replace(
        first,
        picture=None if seen is None else seen.said(),
        leeway=leeway_of(request, gateway.settings.max_steps) if bound is None and seen is None else None,
    )
    jobs = [first, *(msgspec.structs.replace(first, id=new_job_id(card.id), seed=seed + i) for i in range(1, count))]
    jobs[:-1] = (msgspec.structs.replace(job, last=False) for job in jobs[:-1])
    unseen = () if seen is source else ("image",)
    return Order(card, planned, tuple(jobs), None if seen is None else seen.files, request.branch_scale, unseen)


def _request(fields: DrawFields, gateway: Gateway, card: ModelCard, source: Source | None) -> BudgetRequest:
    if source is None:
        return budget_request(fields, gateway)
    entry = source.entry(sigmas_given=fields.sigmas is not None)
    return replace(budget_request(sized(fields, source, card), gateway), picture=entry)


async def _quoted(request: BudgetRequest, bound: BoundPlan, gateway: Gateway, owner: str) -> tuple[Plan, Table]:
    check_picture(request.picture, bound)
    load = await gateway.store.load(request.card.id, inflow_of(request, bound.plan.evaluations))
    forecast = None if load is None else Forecast.of(load, bound.latency_s, owner, each=forwards(request.branch_scale))
    table = bound.table.table()
    return kept(bound.plan, table, forecast, latency_s=bound.latency_s, images=bound.images), table


def count_of(n: int | None, gateway: Gateway) -> int:
    """How many images a request asks for.

    Raises:
        PacerError: invalid_request.
    """
    most = gateway.settings.max_images
    if n is not None and not 1 <= n <= most:
        raise _invalid("n", f"must lie in 1 to {most}, is {n}")
    return n or 1


async def quote(
    request: BudgetRequest, gateway: Gateway, owner: str = EVERYBODY, *, draws: bool = False
) -> tuple[Plan, Table]:
    """The plan of an owner's request, predicted with what workers measured; `draws` where it is to be drawn now.

    Raises:
        PacerError: the request is wrong, or store_unavailable.
    """
    # Planned once without the store, so that a wrong request is told so whatever state the store is in.
    planned = _plan(request, gateway, None)
    came = inflow_of(request, planned[0].evaluations) if draws else None
    load = await gateway.store.load(request.card.id, came)
    if load is None:
        return planned
    each = forwards(request.branch_scale)
    return _plan(request, gateway, Forecast.of(load, request.latency_s, owner, each=each))


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
    width, height = _size(fields.size, card)
    return BudgetRequest(
        card=card,
        guidance_scale=card.guidance_scale if fields.guidance_scale is None else fields.guidance_scale,
        true_cfg_scale=1.0 if fields.true_cfg_scale is None else fields.true_cfg_scale,
        width=width,
        height=height,
        steps=_steps(fields, gateway),
        **_bounds(fields.budget),
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
    loras = tuple(Lora(lora.name, lora.scale) for lora in named)
    choose(loras, gateway.settings.lora_dir, card.id)
    return loras


class _Bounds(TypedDict, total=False):
    evaluations: int | None
    latency_s: float | None
    min_steps: int | None
    max_steps: int | None
    min_psnr_db: float | None
    min_quality: float | None
    kept_by: float | None


def _bounds(budget: Budget | None) -> _Bounds:
    """What a budget says beside the steps."""
    if budget is None:
        return {}
    return {
        "evaluations": budget.evaluations,
        "latency_s": None if budget.latency_ms is None else budget.latency_ms / 1000,
        "min_steps": budget.min_steps,
        "max_steps": budget.max_steps,
        "min_psnr_db": budget.min_psnr_db,
        "min_quality": budget.min_quality,
        "kept_by": budget.kept_by,
    }


def _steps(fields: PlanFields, gateway: Gateway) -> int | None:
    """The one step budget that the fields agree on, if they name any."""
    settings = gateway.settings
    named: dict[str, int] = {}
    if fields.budget is not None and fields.budget.steps is not None:
        named["budget.steps"] = fields.budget.steps
    if fields.num_inference_steps is not None:
        named["num_inference_steps"] = fields.num_inference_steps
    if isinstance(fields, ImagesRequest) and fields.quality_level is not None:
        named["quality"] = settings.quality_steps[fields.quality_level]
    for field, steps in named.items():
        if not 1 <= steps <= settings.max_steps:
            raise _invalid(field, f"must lie in 1 to {settings.max_steps}, is {steps}")
    if len(set(named.values())) > 1:
        said = ", ".join(f"{field} says {steps}" for field, steps in named.items())
        raise _invalid(next(iter(named)), f"the budgets contradict each other: {said} steps; give one of them")
    return next(iter(named.values()), None)


def _size(size: str | None, card: ModelCard) -> tuple[int, int]:
    if size is None or size == "auto":
        return card.default_size
    match = _SIZE.fullmatch(size)
    if match is None or not card.allows(int(match[1]), int(match[2])):
        raise _invalid("size", f"{card.id} draws {card.sizes}, not {size}")
    return int(match[1]), int(match[2])


def _seed(seed: int | None, count: int) -> int:
    if seed is None:
        return secrets.randbits(_RANDOM_SEED_BITS)
    if seed + count - 1 > MAX_SEED:
        raise _invalid("seed", f"the last image's seed, seed + n - 1, must be at most {MAX_SEED}")
    return seed


def check_words(text: str, field: str, gateway: Gateway, card: ModelCard) -> None:
    """Refuse a text that is longer than the model reads.

    Raises:
        PacerError: invalid_request, naming both lengths.
    """
    most_chars = gateway.settings.max_prompt_chars
    if len(text) > most_chars:
        raise _invalid(field, f"may have at most {most_chars} characters, has {len(text)}")
    words = count_words(text)
    if card.max_words is not None and words > card.max_words:
        raise _invalid(field, f"{card.id} reads at most {card.max_words} words, there are {words}")


def _job(
    fields: DrawFields, request: BudgetRequest, planned: Plan, *, table: TableMessage, seed: int, embed: bool
) -> Job:
    image_format = fields.output_format or "png"
    return Job(
        id=new_job_id(request.card.id),
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt or "",
        seed=seed,
        width=request.width,
        height=request.height,
        guidance_scale=request.guidance_scale,
        true_cfg_scale=request.true_cfg_scale,
        plan=planned,
        table=table,
        image_format=image_format,
        compression=None if image_format == "png" else fields.output_compression,
        embed_metadata=embed,
        deadline_s=request.latency_s,
    )


def _invalid(field: str, detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)
