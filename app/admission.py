"""From a validated body to jobs in the queue. What cannot be promised is refused before, on a load that still holds.

A plan is made on a reading of the load, and written a round trip later. What others were promised in between makes it
stale: the store refuses it, and it is made again. So a burst gets no more than callers who come one after the other,
through however many gateways.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from app.binding import quoted_fields, quoted_source
from app.gateway import Gateway
from app.intake import Quoted, budget_request, quote
from app.pictures import Source, sized
from app.schemas.requests import MAX_SEED, DrawFields
from app.words import check_words
from pacer.control.budget_request import BudgetRequest, invalid
from pacer.control.evaluations import forwards
from pacer.control.inflow import inflow_of
from pacer.control.kept import kept
from pacer.control.limits import Forecast
from pacer.control.refusals import LATENCY
from pacer.control.replan import leeway_of
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.bound_plans import BoundPlan
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Job, PictureFiles, Plan, TableMessage
from pacer.jobs.owners import EVERYBODY
from pacer.jobs.store import StaleLoadError
from pacer.models import ModelCard

_RANDOM_SEED_BITS = 32
"""Small enough for every JSON reader to hold exactly."""

_TRIES = 16
"""Plans of a request that other gateways' requests may overtake, after the first."""


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
    promises: int | None = None
    """That there were when it was planned; None where it promises nothing."""
    ignored: tuple[str, ...] = ()
    """Fields that mean nothing in this plan: the image, where nothing of it is left at the start."""

    @property
    def seed(self) -> int:
        """The first image's."""
        return self.jobs[0].seed


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was judged, to be planned.

    Attributes:
        fields: what was said, with what was quoted filled in.
        request: the same for planning.
        seed: the first image's.
        owner: whose it is.
        bound: the quote that it names.
        source: the picture that it starts from.
    """

    fields: DrawFields
    request: BudgetRequest
    seed: int
    owner: str
    bound: BoundPlan | None
    source: Source | None


async def admit(
    fields: DrawFields,
    gateway: Gateway,
    *,
    count: int | None = None,
    source: Source | None = None,
    owner: str = EVERYBODY,
    waits: bool = False,
) -> Order:
    """Judge an owner's drawing request, plan it and queue its jobs.

    Args:
        fields: the validated body.
        gateway: that takes it in.
        count: images; None was not said, and is as many as were quoted, or one.
        source: the picture that they start from.
        owner: whose it is.
        waits: whether the caller waits for the images, which needs a worker that is there.

    Raises:
        PacerError: of the kind and field that is wrong; nothing was queued.
    """
    asked = await _judged(fields, gateway, count, source, owner)
    order = await _ordered(asked, gateway, comes=True)
    if waits:
        await _require_worker(gateway, order.card.id)
    try:
        return await _queued(order, asked, gateway)
    except StaleLoadError:
        async with gateway.again[order.card.id]:  # side by side, each would make the others' plans stale
            return await _queued_again(asked, gateway)


async def _queued_again(asked: _Asked, gateway: Gateway) -> Order:
    for _ in range(_TRIES):
        with suppress(StaleLoadError):
            return await _queued(await _ordered(asked, gateway), asked, gateway)
    detail = f"{LATENCY}: others were promised something {_TRIES} times while it was planned"
    raise PacerError(ErrorKind.deadline_unreachable, detail, field=LATENCY, retry_after_s=1.0)


async def _queued(order: Order, asked: _Asked, gateway: Gateway) -> Order:
    await gateway.submit(order.jobs, order.files, asked.owner, asked.fields.plan_id, order.promises)
    return order


async def _judged(fields: DrawFields, gateway: Gateway, count: int | None, source: Source | None, owner: str) -> _Asked:
    bound = None
    if fields.plan_id is not None:
        bound = await gateway.bound_plans.find(fields.plan_id, owner)
        fields = quoted_fields(fields, bound, count)
    card = gateway.card(fields.model)
    for field, text in (("prompt", fields.prompt), ("negative_prompt", fields.negative_prompt or "")):
        check_words(text, field, card, gateway.settings.max_prompt_chars)
    images = count or (1 if bound is None else bound.images)
    seed = _seed(fields.seed, images)
    request = replace(_request(fields, gateway, card, source), images=images, prompt=fields.prompt)
    if bound is not None:
        source, picture = quoted_source(source, bound)
        request = replace(request, picture=picture, latency_s=bound.latency_s)
    return _Asked(fields, request, seed, owner, bound, source)


async def _ordered(asked: _Asked, gateway: Gateway, *, comes: bool = False) -> Order:
    """Its jobs, planned on the load as it is; `comes` counts it as one that comes in now."""
    request, source = asked.request, asked.source
    planned, table, promises = await _planned(asked, gateway, comes=comes)
    packed = TableMessage.of(table)
    seen = source if "image" in packed.base else None
    job = _job(asked.fields, request, planned, table=packed, seed=asked.seed, embed=gateway.settings.embed_metadata)
    job = msgspec.structs.replace(
        job,
        picture=None if seen is None else seen.said(),
        leeway=leeway_of(request, gateway.settings.max_steps) if asked.bound is None and seen is None else None,
    )
    return Order(
        card=request.card,
        plan=planned,
        jobs=tuple(_each(job, request.images)),
        files=None if seen is None else seen.files,
        branch_scale=request.branch_scale,
        promises=None if request.latency_s is None else promises,
        ignored=() if seen is source else ("image",),
    )


def _each(job: Job, count: int) -> list[Job]:
    """The jobs of all images, seeds rising by one."""
    later = (msgspec.structs.replace(job, id=new_job_id(job.model), seed=job.seed + i) for i in range(1, count))
    *others, last = job, *later
    return [*(msgspec.structs.replace(other, last=False) for other in others), last]


async def _planned(asked: _Asked, gateway: Gateway, *, comes: bool) -> Quoted:
    request, bound = asked.request, asked.bound
    if bound is None:
        return await quote(request, gateway, asked.owner, comes=comes)
    came = inflow_of(request, bound.plan.evaluations) if comes else None
    load = await gateway.store.load(request.card.id, came, asked.owner)
    table, each = bound.table.table(), forwards(request.branch_scale)
    forecast = None if load is None else Forecast.of(load, bound.latency_s, asked.owner, each=each).at(request.pixels)
    plan = kept(bound.plan, table, forecast, latency_s=bound.latency_s, images=bound.images)
    return Quoted(plan, table, None if load is None else load.promises)


async def _require_worker(gateway: Gateway, model: str) -> None:
    """Whoever waits should not wait for a worker that is not there."""
    if not await gateway.store.live_workers(model):
        raise PacerError(ErrorKind.no_worker, f"no worker serves {model} now; POST /v1/jobs queues without waiting.")


def _request(fields: DrawFields, gateway: Gateway, card: ModelCard, source: Source | None) -> BudgetRequest:
    if source is None:
        return budget_request(fields, gateway)
    entry = source.entry(sigmas_given=fields.sigmas is not None)
    return replace(budget_request(sized(fields, source, card), gateway), picture=entry)


def _seed(seed: int | None, count: int) -> int:
    if seed is None:
        return secrets.randbits(_RANDOM_SEED_BITS)
    if seed + count - 1 > MAX_SEED:
        raise invalid("seed", f"the last image's seed, seed + n - 1, must be at most {MAX_SEED}")
    return seed


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
