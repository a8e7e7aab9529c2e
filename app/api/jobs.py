"""Jobs in the background: submit, look, follow, fetch, cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.admission import admit
from app.auth import OwnerDep
from app.body import PictureRoute
from app.gateway import Gateway, GatewayDep
from app.pictures import source_of
from app.problems import describe
from app.schemas.answers import JobAccepted, JobAnswer, JobCancelled, JobError, JobEvent, PlanAnswer, TimingsAnswer
from app.schemas.requests import JobRequest
from app.waiting import error_of
from pacer.errors import ErrorKind
from pacer.jobs.events import parse_position
from pacer.jobs.messages import Event, JobStatus

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=PictureRoute)

_MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_MISSING = (ErrorKind.unauthorized, ErrorKind.job_not_found, ErrorKind.job_gone, ErrorKind.store_unavailable)


@router.post(
    "",
    status_code=202,
    response_model=JobAccepted,
    responses={
        202: {"headers": {"Location": {"description": "where the job is", "schema": {"type": "string"}}}},
        **describe(
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
            ErrorKind.store_unavailable,
        ),
    },
)
async def submit(body: JobRequest, response: Response, gateway: GatewayDep, owner: OwnerDep) -> JobAccepted:
    """Queue one image and answer at once."""
    order = await admit(body, gateway, count=1, source=source_of(body, gateway.settings), owner=owner)
    job = order.jobs[0]
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobAccepted(
        id=job.id,
        status="queued",
        seed=job.seed,
        plan=PlanAnswer.of(order.plan),
        ignored=[*body.ignored(order.branch_scale), *order.ignored],
    )


@router.get("/{job_id}", response_model=JobAnswer, responses=describe(*_MISSING))
async def look(job_id: str, gateway: GatewayDep) -> JobAnswer:
    """How a job stands."""
    return _answer(await gateway.store.status(job_id))


@router.delete("/{job_id}", response_model=JobCancelled, responses=describe(*_MISSING))
async def cancel(job_id: str, gateway: GatewayDep) -> JobCancelled:
    """Cancel a queued or running job; one that has ended stays as it is, and its state is told."""
    return JobCancelled(id=job_id, status=await gateway.cancel(job_id))


@router.get(
    "/{job_id}/image",
    response_class=Response,
    responses={
        200: {
            "description": "The image file",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _MEDIA_TYPES.values()},
        },
        **describe(
            *_MISSING,
            ErrorKind.job_not_finished,
            ErrorKind.job_cancelled,
            ErrorKind.deadline_passed,
            ErrorKind.worker_failed,
            ErrorKind.not_finite,
        ),
    },
)
async def image(job_id: str, gateway: GatewayDep) -> Response:
    """The finished image."""
    data, image_format = await gateway.store.image(job_id)
    return Response(data, media_type=_MEDIA_TYPES[image_format])


async def _existing(job_id: str, gateway: GatewayDep) -> Gateway:
    """Refuse an unknown job before the stream begins, while a status can still be sent."""
    await gateway.store.status(job_id)
    return gateway


def _resume_after(last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None) -> str:
    after = last_event_id or "0-0"
    parse_position(after)
    return after


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses=describe(*_MISSING, ErrorKind.invalid_request),
)
async def events(
    job_id: str, gateway: Annotated[Gateway, Depends(_existing)], after: Annotated[str, Depends(_resume_after)]
) -> AsyncIterator[ServerSentEvent]:
    """Follow a job: server-sent events named by their kind, from Last-Event-ID on, until it has ended."""
    async for event in gateway.store.events(job_id, after):
        yield _server_sent(event)


def _server_sent(event: Event) -> ServerSentEvent:
    data = JobEvent(kind=event.kind, step=event.step, total=event.total, detail=event.detail)
    return ServerSentEvent(id=event.id, event=event.kind, data=data)


def _answer(status: JobStatus) -> JobAnswer:
    return JobAnswer(
        id=status.id,
        status=status.status,
        step=status.step,
        total=status.total,
        attempt=status.attempt,
        plan=PlanAnswer.of(status.plan),
        submitted_ms=status.submitted_ms,
        finished_ms=status.finished_ms,
        latency_seconds=status.latency_s,
        in_time=status.in_time,
        timings=None if status.timings is None else TimingsAnswer.of(status.timings),
        error=_error(status),
        image=f"/v1/jobs/{status.id}/image" if status.status == "completed" else None,
        seed=status.seed,
        output_format=status.image_format,
    )


def _error(status: JobStatus) -> JobError | None:
    error = error_of(status)
    if error is None or status.status == "cancelled":
        return None
    kind = error.kind
    return JobError(type=f"/problems/{kind.label}", title=kind.title, detail=error.detail, advice=kind.advice)
