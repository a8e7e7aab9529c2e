"""A worker's side of the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import msgspec
import redis

from pacer.control.load import Load
from pacer.control.policies import POLICIES
from pacer.errors import ErrorKind
from pacer.jobs import scripts
from pacer.jobs.connection import MAX_BLOCK_S, store_errors
from pacer.jobs.keys import queue_keys
from pacer.jobs.messages import Claim, Job, JobState, PictureFiles, Progress, Timings, Verdict, WorkerSpeed
from pacer.jobs.owners import weights_of
from pacer.jobs.told_load import ToldWorkers, told_load
from pacer.settings import Settings

OnEnded: TypeAlias = Callable[[JobState, int], None]
_RawClaim: TypeAlias = tuple[bytes, bytes, int, int, bytes, bytes]


class WorkerQueue:
    """Claims jobs, keeps them, and hands their images in. Safe for threads: it holds no state but the client.

    Every method raises PacerError store_unavailable when the store does not answer after the client's retries. A call
    repeated after a lost reply does no harm, save `claim`: what was handed out unheard comes back when its lease ends.
    """

    def __init__(
        self,
        redis: redis.Redis,
        settings: Settings,
        model: str,
        worker: str,
        *,
        on_ended: OnEnded | None = None,
    ) -> None:
        """Set up the queue of one model for one worker.

        Args:
            redis: a client with binary replies.
            settings: of which lease_s, max_attempts and result_ttl_s are used.
            model: whose queue.
            worker: a name of this process, unlike any other's.
            on_ended: told how many jobs a `claim` ended as failed (attempts used up) or expired, for the metrics.
        """
        self._client = redis
        self._settings = settings
        self._keys = queue_keys(model)
        self._worker = worker
        self._lease_ms = round(settings.lease_s * 1000)
        self._weights = weights_of(settings)
        self._on_ended = on_ended or (lambda _state, _count: None)

    def claim(self, count: int) -> list[Claim]:
        """The most urgent jobs, at most `count` of them, leased to this worker.

        First puts back what other workers let go of, and ends what is past its attempts or its deadline.
        """
        return self._claim(count, "")

    def claim_promise(self, within_s: float) -> list[Claim]:
        """The most urgent job with a deadline, whoever's turn it is, if it must start within so many seconds.

        Else as `claim`.
        """
        return self._claim(1, max(0, round(within_s * 1000)))

    def _claim(self, count: int, within_ms: int | str) -> list[Claim]:
        arguments = (self._lease_ms, self._settings.max_attempts, self._settings.result_ttl_s, within_ms)
        reply = cast("list[scripts.Reply]", self._run("claim", self._worker, count, *arguments))
        now_ms, failed, expired, raw = cast("tuple[int, list[bytes], list[bytes], list[_RawClaim]]", reply)
        for state, ids in (("failed", failed), ("expired", expired)):
            if ids:
                self._on_ended(cast("JobState", state), len(ids))
        claims = (self._unpack(item, now_ms) for item in raw)
        return [claim for claim in claims if claim is not None]

    def _unpack(self, raw: _RawClaim, now_ms: int) -> Claim | None:
        job_id, spec, fence, attempt, submitted, packed = raw
        try:
            job = msgspec.msgpack.decode(spec, type=Job)
            picture = msgspec.msgpack.decode(packed, type=PictureFiles) if packed else None
        except msgspec.DecodeError as error:
            # A gateway of another version wrote it; no attempt here can succeed.
            self._end(job_id.decode(), fence, "failed", kind=ErrorKind.internal, detail=f"Unreadable job: {error}")
            self._on_ended("failed", 1)
            return None
        return Claim(job, fence, attempt, int(submitted), now_ms, picture)

    def beat(self, progress: Sequence[Progress]) -> dict[str, Verdict]:
        """Say that this worker lives, extend the leases of its jobs, and note their steps.

        Call it every beat_s from a thread that is not the compute loop, also with nothing in hand.

        Returns:
            Of each job id: "ok"; "cancelled" when nobody wants it any more; "fenced" when another worker has it.
        """
        arguments = [part for item in progress for part in (item.id, item.fence, item.step)]
        verdicts = cast("list[bytes]", self._run("beat", self._worker, self._lease_ms, *arguments))
        return {item.id: cast("Verdict", word.decode()) for item, word in zip(progress, verdicts, strict=True)}

    def finish(self, claim: Claim, image: bytes, timings: Timings) -> bool:
        """Hand in an image, as a file's bytes. False when the job is no longer this claim's: the image is dropped."""
        return self._end(
            claim.job.id, claim.fence, "completed", image=image, timings=msgspec.msgpack.encode(timings), job=claim.job
        )

    def fail(self, claim: Claim, kind: ErrorKind, detail: str) -> bool:
        """End a job without an image, for good; one past its deadline has expired, every other failed.

        Returns:
            False when it is no longer this claim's.
        """
        state: JobState = "expired" if kind is ErrorKind.deadline_passed else "failed"
        return self._end(claim.job.id, claim.fence, state, kind=kind, detail=detail)

    def replan(self, claim: Claim) -> bool:
        """Note that a job goes on by the claim's plan and table. False when it is no longer this claim's."""
        job = claim.job
        spec, plan = msgspec.msgpack.encode(job), msgspec.msgpack.encode(job.plan)
        turns, work = len(job.table.uncond), job.plan.work
        return self._run("replan", job.id, claim.fence, spec, plan, turns, work) == 1

    def load(self) -> Load | None:
        """What the live workers measured and have before them; None before the first of them measured."""
        late_last = POLICIES[self._settings.policy].late_last
        return told_load(cast("ToldWorkers", self._run("workers", "")), self._weights, late_last=late_last)

    def release(self, claims: Sequence[Claim]) -> None:
        """Give jobs back, each to its place in the queue, the attempt not charged."""
        if claims:
            self._run("release", *(part for claim in claims for part in (claim.job.id, claim.fence)))

    def abandon(self, claims: Sequence[Claim]) -> None:
        """Let jobs go that this worker may be dying of: others may claim them at once, the attempt stays charged."""
        if claims:
            self._run("abandon", *(part for claim in claims for part in (claim.job.id, claim.fence)))

    def publish_speed(self, speed: WorkerSpeed) -> None:
        """Tell the planner what this worker measured."""
        with store_errors():
            self._client.hset(self._keys.speeds, self._worker, cast("str", msgspec.msgpack.encode(speed)))

    def wait(self, timeout_s: float) -> bool:
        """Wait for a job, at most `timeout_s` and at most 2 s. True when there may be one.

        Claim after it in either case: only a claim finds jobs whose worker died.
        """
        with store_errors():
            if self._client.zcard(self._keys.pending):
                return True
            return self._client.blpop([self._keys.bell], timeout=min(timeout_s, MAX_BLOCK_S)) is not None

    def retire(self) -> None:
        """Leave: this worker no longer counts as alive. Release its jobs first."""
        with store_errors(), self._client.pipeline(transaction=True) as pipe:
            pipe.zrem(self._keys.workers, self._worker)
            pipe.hdel(self._keys.speeds, self._worker)
            pipe.execute()

    def _end(
        self,
        job_id: str,
        fence: int,
        state: JobState,
        *,
        image: bytes = b"",
        timings: bytes = b"",
        job: Job | None = None,
        kind: ErrorKind | None = None,
        detail: str = "",
    ) -> bool:
        label = "" if kind is None else kind.label
        ttl_s, plan, rows = self._settings.result_ttl_s, b"", 0
        if job is not None and job.plan.replanned is not None:
            plan, rows = msgspec.msgpack.encode(job.plan), len(job.table.uncond)
        return self._run("finish", job_id, fence, state, ttl_s, image, timings, label, detail, plan, rows) == 1

    def _run(self, name: str, *arguments: scripts.Argument) -> scripts.Reply:
        with store_errors():
            return scripts.load(name).run(self._client, self._keys, *arguments)
