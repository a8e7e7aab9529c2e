"""The gateway's side of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from typing import cast

import msgspec
import redis.asyncio

from pacer.control.inflow import Inflow
from pacer.control.load import Load
from pacer.control.policies import POLICIES
from pacer.errors import ErrorKind, PacerError
from pacer.jobs import scripts
from pacer.jobs.backpressure import retry_after_s
from pacer.jobs.bound_plans import not_binding
from pacer.jobs.connection import store_errors
from pacer.jobs.events import Entry, EventFeed, event_of, is_last, parse_position
from pacer.jobs.keys import QueueKeys, model_of, queue_keys
from pacer.jobs.messages import Event, ImageFormat, Job, JobState, JobStatus, PictureFiles, Plan, Timings, WorkerSpeed
from pacer.jobs.owners import EVERYBODY, weights_of
from pacer.jobs.told_load import ToldWorkers, told_load
from pacer.settings import Settings

_PING_S = 2.0
_PLAN_GONE, _STALE = 2, 3
_STATUS_FIELDS = (
    "state",
    "step",
    "total",
    "plan",
    "attempt",
    "submitted_ms",
    "finished_ms",
    "timings",
    "error_kind",
    "error_detail",
    "format",
    "seed",
    "deadline_ms",
)


class StaleLoadError(Exception):
    """More was promised since the load was read that a submission was planned on: it is to be planned again."""


class JobStore:
    """Submits jobs and tells how they stand. For one event loop; close it before the client.

    Every method raises PacerError: store_unavailable when the store does not answer, job_not_found for an id that
    never was, job_gone for a job that ended and was forgotten (remembered for a day).
    """

    def __init__(self, redis: redis.asyncio.Redis, settings: Settings) -> None:
        self._client = redis
        self._settings = settings
        self._weights = weights_of(settings)
        self._feeds: dict[str, EventFeed] = {}

    async def submit(
        self,
        jobs: Sequence[Job],
        *,
        predicted_s: float | None,
        picture: PictureFiles | None = None,
        owner: str = EVERYBODY,
        plan_id: str = "",
        promises: int | None = None,
    ) -> None:
        """Take all jobs of a request into the queue, or none. The same jobs again change nothing.

        Args:
            jobs: one or more, of one model.
            predicted_s: predicted service time of one job, seconds; orders jobs with a deadline.
            picture: what each of them starts from; kept beside each until it ends.
            owner: who shares the workers with the other owners for them.
            plan_id: of the binding quote that they use up.
            promises: those of the load that they were planned on, if that is to hold still; None for jobs that promise
                nothing.

        Raises:
            PacerError: queue_full with retry_after_s; invalid_request when they could never fit; plan_not_binding.
            StaleLoadError: there are more promises by now; nothing was queued.
        """
        keys = queue_keys(_one_model(jobs))
        limit = self._settings.queue_limit
        if len(jobs) > limit:
            raise PacerError(
                ErrorKind.invalid_request, f"must be at most {limit}, the queue's limit, is {len(jobs)}", field="n"
            )
        arguments = [part for job in jobs for part in self._arguments(job, predicted_s, owner)]
        files = b"" if picture is None else msgspec.msgpack.encode(picture)
        counted = "" if promises is None else promises
        with store_errors():
            reply = await scripts.load("submit").run_async(
                self._client, keys, *(limit, owner, plan_id, files, counted), *arguments
            )
        accepted, *measured = cast("list[int]", reply)
        if accepted == _PLAN_GONE:
            raise not_binding("was used already, or its time is over")
        if accepted == _STALE:
            raise StaleLoadError
        if not accepted:
            raise _queue_full(len(jobs), limit, measured, predicted_s)

    def _arguments(self, job: Job, predicted_s: float | None, owner: str) -> tuple[scripts.Argument, ...]:
        slack_s = self._settings.best_effort_slack_s
        if job.deadline_s is not None:
            slack_s = job.deadline_s - (predicted_s or 0.0)
        spec, plan = msgspec.msgpack.encode(job), msgspec.msgpack.encode(job.plan)
        deadline = "" if job.deadline_s is None else round(job.deadline_s * 1000)
        turns, forwards = len(job.table.uncond), job.plan.evaluations
        cost = repr(forwards * job.pixels / self._weights.get(owner, 1.0))
        sizes = (turns, job.plan.work, cost, job.pixels, round(slack_s * 1000), deadline)
        return job.id, spec, plan, job.image_format, job.seed, *sizes

    async def status(self, job_id: str) -> JobStatus:
        """How a job stands."""
        keys = _keys_of(job_id)
        with store_errors():
            fields = await _hmget(self._client, keys.job(job_id), _STATUS_FIELDS)
        if fields[0] is None:
            raise await self._absent(keys, job_id)
        return _status(job_id, dict(zip(_STATUS_FIELDS, fields, strict=True)))

    async def cancel(self, job_id: str) -> tuple[JobState, bool]:
        """End a job that waits or runs; its worker stops at its next beat. One that has ended stays as it is.

        Returns:
            The state it is in now, cancelled or how it had ended before; and whether this call has ended it, which is
            so for one call at most.
        """
        keys = _keys_of(job_id)
        with store_errors():
            reply = await scripts.load("cancel").run_async(self._client, keys, job_id, self._settings.result_ttl_s)
        if reply is None:
            raise await self._absent(keys, job_id)
        state, ended = cast("tuple[bytes, int]", reply)
        return cast("JobState", state.decode()), bool(ended)

    async def image(self, job_id: str) -> tuple[bytes, ImageFormat]:
        """A finished image, as a file's bytes.

        Raises:
            PacerError: job_not_finished; job_cancelled; or why the job failed.
        """
        keys = _keys_of(job_id)
        status = await self.status(job_id)
        if status.status != "completed":
            raise _no_image(status)
        with store_errors():
            image = cast("bytes | None", await self._client.get(keys.image(job_id)))
        if image is None:
            raise await self._absent(keys, job_id)
        return image, status.image_format

    async def events(self, job_id: str, after: str = "0-0") -> AsyncGenerator[Event, None]:
        """A job's events after a stream id, those of the past first; ends with the job.

        Raises:
            PacerError: invalid_request when `after` is no stream id.
        """
        keys, position = _keys_of(job_id), parse_position(after)
        with store_errors():
            newest = cast("list[Entry]", await self._client.xrevrange(keys.events(job_id), count=1))
        if not newest:
            raise await self._absent(keys, job_id)
        last = event_of(newest[0])
        end = parse_position(last.id)
        if is_last(last) and end <= position:
            return
        # An id beyond the stream's end, of another job or from before a restored backup, must not hide what comes next.
        async with aclosing(self._feed(keys).follow(job_id, min(position, end))) as events:
            async for event in events:
                yield event

    async def depth(self, model: str) -> int:
        """Jobs that wait."""
        with store_errors():
            return await self._client.zcard(queue_keys(model).pending)

    async def live_workers(self, model: str) -> int:
        """Workers that were heard of within a lease."""
        return (await self._workers(model))[0]

    async def speed(self, model: str) -> WorkerSpeed | None:
        """The mean of what the live workers measured; None before the first of them did."""
        load = await self.load(model)
        return None if load is None else load.speed

    async def load(self, model: str, came: Inflow | None = None, owner: str = EVERYBODY) -> Load | None:
        """What the live workers measured and have before them; None before the first of them measured.

        Args:
            model: whose.
            came: what a request adds to what comes in; None only looks.
            owner: whose the request is.
        """
        late_last = POLICIES[self._settings.policy].late_last
        return told_load(await self._workers(model, owner, *(came or ())), self._weights, late_last=late_last)

    async def ping(self) -> None:
        """Raise store_unavailable unless the store answers within two seconds."""
        with store_errors():
            async with asyncio.timeout(_PING_S):
                await self._client.ping()

    async def close(self) -> None:
        """Stop reading events."""
        for feed in self._feeds.values():
            await feed.close()

    async def _workers(self, model: str, owner: str = EVERYBODY, *came: float) -> ToldWorkers:
        with store_errors():
            reply = await scripts.load("workers").run_async(self._client, queue_keys(model), owner, *map(repr, came))
        return cast("ToldWorkers", reply)

    def _feed(self, keys: QueueKeys) -> EventFeed:
        return self._feeds.setdefault(keys.tag, EventFeed(self._client, keys))

    async def _absent(self, keys: QueueKeys, job_id: str) -> PacerError:
        with store_errors():
            ended = cast("bytes | None", await self._client.get(keys.ended(job_id)))
        if ended is None:
            return _not_found(job_id)
        return PacerError(ErrorKind.job_gone, f"Job {job_id} ended ({ended.decode()}) and is no longer kept.")


async def _hmget(client: redis.asyncio.Redis, key: str, names: Sequence[str]) -> list[bytes | None]:
    return await cast("Awaitable[list[bytes | None]]", client.hmget(key, list(names)))


def _one_model(jobs: Sequence[Job]) -> str:
    models = {model_of(job.id) for job in jobs} | {job.model for job in jobs}
    if len(models) != 1:
        raise ValueError(f"jobs: a request is one or more jobs of one model, has {sorted(models)}; this is a bug")
    return models.pop()


def _keys_of(job_id: str) -> QueueKeys:
    try:
        return queue_keys(model_of(job_id))
    except ValueError as error:
        raise _not_found(job_id) from error


def _not_found(job_id: str) -> PacerError:
    return PacerError(ErrorKind.job_not_found, f"There is no job {job_id[:200]!r}.")


def _queue_full(count: int, limit: int, measured: Sequence[int], predicted_s: float | None) -> PacerError:
    depth, departures, window_ms, workers = measured
    wait_s = retry_after_s(
        depth + count - limit,
        departures=departures,
        window_s=window_ms / 1000,
        predicted_s=predicted_s,
        workers=workers,
    )
    detail = f"{depth} jobs wait and at most {limit} may; there is no room for {count} more."
    return PacerError(ErrorKind.queue_full, detail, retry_after_s=wait_s)


def _no_image(status: JobStatus) -> PacerError:
    if status.status in {"queued", "running"}:
        return PacerError(ErrorKind.job_not_finished, f"Job {status.id} is {status.status}.")
    if status.status == "cancelled":
        return PacerError(ErrorKind.job_cancelled, f"Job {status.id} was cancelled.")
    kind = ErrorKind.__members__.get(status.error_kind or "", ErrorKind.internal)
    return PacerError(kind, status.error_detail or f"Job {status.id} {status.status}.")


def _status(job_id: str, fields: dict[str, bytes | None]) -> JobStatus:
    def text(name: str) -> str | None:
        value = fields[name]
        return None if value is None else value.decode()

    finished, timings, deadline = (fields[name] for name in ("finished_ms", "timings", "deadline_ms"))
    return JobStatus(
        id=job_id,
        status=cast("JobState", text("state")),
        step=int(text("step") or 0),
        total=int(text("total") or 0),
        plan=msgspec.msgpack.decode(fields["plan"] or b"", type=Plan),
        attempt=int(text("attempt") or 0),
        submitted_ms=int(text("submitted_ms") or 0),
        finished_ms=None if finished is None else int(finished),
        timings=None if timings is None else msgspec.msgpack.decode(timings, type=Timings),
        error_kind=text("error_kind"),
        error_detail=text("error_detail"),
        image_format=cast("ImageFormat", text("format")),
        seed=int(text("seed") or 0),
        deadline_ms=int(deadline) if deadline else None,
    )
