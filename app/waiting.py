"""Waiting for jobs on behalf of a caller who may go away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import Request

from app.gateway import Gateway
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import JobStatus
from pacer.jobs.store import JobStore


class ClientGoneError(Exception):
    """The caller hung up; nobody is left to answer."""


async def completed(
    gateway: Gateway, ids: Sequence[str], request: Request, *, deadline_s: float | None = None
) -> list[JobStatus]:
    """Wait until all jobs are completed; in every other case none of them goes on.

    Args:
        gateway: whose jobs they are.
        ids: of the jobs.
        request: whose caller waits.
        deadline_s: seconds after which the images are worth nothing.

    Raises:
        PacerError: a job failed, was cancelled or took too long.
        ClientGoneError: the caller hung up.
    """
    most_s = gateway.settings.sync_timeout_s
    timeout_s = most_s if deadline_s is None else min(most_s, deadline_s)
    drawing = asyncio.create_task(_all_completed(gateway.store, ids))
    leaving = asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait({drawing, leaving}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if drawing.done():
            return drawing.result()
        if leaving.done():
            raise ClientGoneError
        reason = (
            "the most that this route waits; POST /v1/jobs does not wait." if timeout_s == most_s else "its budget."
        )
        detail = f"no image within {timeout_s:g} s, {reason}"
        raise PacerError(ErrorKind.deadline_passed, detail)
    finally:
        leaving.cancel()
        if drawing.cancel() or drawing.exception() is not None:
            # Shielded: also when this task itself is being cancelled, the jobs must not go on for nobody.
            await asyncio.shield(_cancel_all(gateway, ids))


def error_of(status: JobStatus) -> PacerError | None:
    """Why an ended job has no image; None when it has one or has not ended."""
    if status.status == "cancelled":
        return PacerError(ErrorKind.job_cancelled, f"job {status.id} was cancelled.")
    if status.status == "expired":
        return PacerError(ErrorKind.deadline_passed, status.error_detail or f"job {status.id} missed its deadline.")
    if status.status != "failed":
        return None
    known = ErrorKind.__members__.get(status.error_kind or "", ErrorKind.internal)
    return PacerError(known, status.error_detail or f"job {status.id} failed.")


async def _all_completed(store: JobStore, ids: Sequence[str]) -> list[JobStatus]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_completed(store, job_id)) for job_id in ids]
    except* PacerError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        failure = first
    else:
        return [task.result() for task in tasks]
    raise failure


async def _completed(store: JobStore, job_id: str) -> JobStatus:
    async for _ in store.events(job_id):
        pass
    status = await store.status(job_id)
    error = error_of(status)
    if error is not None:
        raise error
    return status


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _cancel_all(gateway: Gateway, ids: Sequence[str]) -> None:
    await asyncio.gather(*(gateway.cancel(job_id) for job_id in ids), return_exceptions=True)
