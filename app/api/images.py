"""POST /v1/images/generations: OpenAI's route, under a budget."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time

import structlog
from fastapi import APIRouter, Request, Response

from app.admission import Order, admit
from app.auth import OwnerDep
from app.body import StrictRoute
from app.gateway import Gateway, GatewayDep
from app.intake import count_of
from app.pictures import Source
from app.problems import describe
from app.schemas.answers import PlanAnswer, TimingsAnswer
from app.schemas.images import ImageDatum, ImageFacts, ImagesAnswer, PacerFacts
from app.schemas.requests import ImagesRequest
from app.waiting import ClientGoneError, completed
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import JobStatus, Timings

CLIENT_CLOSED_REQUEST = 499
"""What logs commonly say of a request whose caller hung up; nobody receives it."""

router = APIRouter(prefix="/v1/images", tags=["images"], route_class=StrictRoute)

FAILURES = describe(
    ErrorKind.malformed_body,
    ErrorKind.unauthorized,
    ErrorKind.model_not_found,
    ErrorKind.schedule_not_found,
    ErrorKind.schedule_mismatch,
    ErrorKind.body_too_large,
    ErrorKind.invalid_request,
    ErrorKind.queue_full,
    ErrorKind.deadline_unreachable,
    ErrorKind.plan_not_binding,
    ErrorKind.internal,
    ErrorKind.worker_failed,
    ErrorKind.not_finite,
    ErrorKind.store_unavailable,
    ErrorKind.no_worker,
    ErrorKind.deadline_passed,
    openai=True,
)


@router.post("/generations", response_model=ImagesAnswer, responses=FAILURES)
async def generate(
    body: ImagesRequest, request: Request, gateway: GatewayDep, owner: OwnerDep
) -> ImagesAnswer | Response:
    """Draw n images and wait for them. Hanging up cancels them."""
    return await drawn(body, request, gateway, owner)


async def drawn(
    body: ImagesRequest, request: Request, gateway: Gateway, owner: str, source: Source | None = None
) -> ImagesAnswer | Response:
    """Draw n images, from a picture if there is one, and wait for them."""
    count = None if body.n is None else count_of(body.n, gateway)
    _log_user(body.user)
    order = await admit(body, gateway, count=count, source=source, owner=owner, waits=True)
    ids = [job.id for job in order.jobs]
    try:
        statuses = await completed(gateway, ids, request, deadline_s=order.jobs[0].deadline_s)
    except ClientGoneError:
        structlog.get_logger().info("client gone", jobs=ids)
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    images = await asyncio.gather(*(gateway.store.image(job_id) for job_id in ids))
    answer = _answer(body, order, statuses, [data for data, _ in images])
    _time(request, answer)
    return answer


def _log_user(user: str | None) -> None:
    if user is not None:
        structlog.contextvars.bind_contextvars(user=hashlib.sha256(user.encode()).hexdigest()[:16])


def _answer(body: ImagesRequest, order: Order, statuses: list[JobStatus], images: list[bytes]) -> ImagesAnswer:
    first = order.jobs[0]
    facts = [
        ImageFacts(id=job.id, seed=job.seed, steps=status.plan.steps, timings=_timings(status))
        for job, status in zip(order.jobs, statuses, strict=True)
    ]
    return ImagesAnswer(
        created=int(time.time()),
        data=[ImageDatum(b64_json=base64.b64encode(image).decode()) for image in images],
        output_format=first.image_format,
        quality=body.quality_level or body.quality,
        size=f"{first.width}x{first.height}",
        pacer=PacerFacts(
            **PlanAnswer.of(statuses[0].plan).model_dump(),  # as it was drawn, which a worker may have planned anew
            seed=order.seed,
            guidance_scale=first.guidance_scale,
            true_cfg_scale=first.true_cfg_scale,
            queue_seconds=max(fact.timings.queue for fact in facts),
            service_seconds=max(fact.timings.service for fact in facts),
            latency_seconds=max(status.latency_s or 0.0 for status in statuses),
            in_time=None if first.deadline_s is None else all(status.in_time for status in statuses),
            images=facts,
            ignored=sorted([*body.ignored(order.branch_scale), *order.ignored]),
        ),
    )


def _timings(status: JobStatus) -> TimingsAnswer:
    measured: Timings | None = status.timings
    if measured is None:
        raise PacerError(ErrorKind.internal, f"job {status.id} is completed but carries no timings.")
    return TimingsAnswer.of(measured)


def _time(request: Request, answer: ImagesAnswer) -> None:
    """Put the slowest image's durations into the Server-Timing header."""
    slowest = max(answer.pacer.images, key=lambda fact: fact.timings.queue + fact.timings.service).timings
    request.state.server_timing.update(slowest.model_dump())
