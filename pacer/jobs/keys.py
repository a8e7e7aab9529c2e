"""Every name in the store, and the ids from which they are made.

All keys of a model's queue share the hash tag {q:SLUG}, so that every script stays on one slot of a Redis Cluster,
while different models may lie on different shards. The slug is part of the job id: the id alone tells where a job lies.

    {q:S}:pending     ZSET    job id -> latest start time, ms: the first is the most urgent
    {q:S}:of:OWNER    ZSET    the same, of one owner's jobs
    {q:S}:promised    ZSET    the same, of jobs with a deadline
    {q:S}:active      ZSET    owner of jobs that wait -> work handed out for it, over its weight
    {q:S}:idle        ZSET    the same, of owners without jobs that wait, while it is ahead of the others'
    {q:S}:owed        HASH    owner -> forwards of the network in its jobs that wait and have no deadline
    {q:S}:asked       ZSET    owner -> when it last asked for a deadline, ms
    {q:S}:lease       ZSET    job id -> end of its lease, ms
    {q:S}:workers     ZSET    worker -> time until which it counts as alive, ms
    {q:S}:speeds      HASH    worker -> WorkerSpeed, msgpack
    {q:S}:bell        LIST    one token per new job, for workers that wait
    {q:S}:drain       LIST    busy-clock times at which the last jobs were finished, ms
    {q:S}:clock       HASH    how long the queue stood empty, which the busy clock leaves out; what came; promises made
    {q:S}:work        HASH    when it is due, in slots of 100 ms -> forwards of the network still to be made, and jobs
    {q:S}:due:OWNER   HASH    the same, of one owner's jobs with a deadline
    {q:S}:job:ID      HASH    a job: what is asked for, the picture it starts from, and how it stands
    {q:S}:ev:ID       STREAM  a job's events
    {q:S}:image:ID    STRING  a finished image, as a file's bytes
    {q:S}:plan:ID     STRING  a binding quote until its time is over, '' once it was used
    {q:S}:ended:ID    STRING  the final state of a job, remembered after the job itself is forgotten
    {q:S}:wake:PID    STREAM  wakes the reader of a gateway process, see events.py
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from dataclasses import dataclass
from functools import lru_cache

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_JOB_ID = re.compile(r"[0-9a-f]{32}-([A-Za-z0-9][A-Za-z0-9._-]*)")
_COUNTER_BITS = 12
_RANDOM_BITS = 62

_lock = threading.Lock()
_last_tick = 0


def slug_of(model: str) -> str:
    """A model's name as it stands in keys and ids: "/" becomes "--".

    Raises:
        ValueError: the name has other characters than letters, digits, ".", "_", "-" and "/", or holds "--".
    """
    if not _MODEL.fullmatch(model) or "--" in model:
        raise ValueError(f"model: must be of letters, digits, '.', '_', '-' and '/' without '--', is {model!r}")
    return model.replace("/", "--")


def new_job_id(model: str) -> str:
    """A new id: 32 hex digits of a UUID version 7 (RFC 9562), "-", the model's slug. Ids of a process rise.

    Raises:
        ValueError: the model's name cannot stand in an id.
    """
    slug = slug_of(model)
    milliseconds, counter = divmod(_next_tick(), 1 << _COUNTER_BITS)
    number = milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return f"{number:032x}-{slug}"


def _next_tick() -> int:
    # Milliseconds and a counter in one number: when more ids than the counter holds are made in one
    # millisecond, it runs over into the next one, and the order still holds.
    global _last_tick  # noqa: PLW0603 - the order of ids is the process's, as the clock is
    with _lock:
        _last_tick = max(_last_tick + 1, time.time_ns() // 1_000_000 << _COUNTER_BITS)
        return _last_tick


def model_of(job_id: str) -> str:
    """The model whose queue holds a job.

    Raises:
        ValueError: this is no job id.
    """
    match = _JOB_ID.fullmatch(job_id)
    if not match:
        raise ValueError(f"job id: must be 32 hex digits, '-' and a model, is {job_id!r}")
    return match[1].replace("--", "/")


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The names of one model's queue."""

    tag: str
    """The hash tag, {q:SLUG}."""

    @property
    def pending(self) -> str:
        """Jobs that wait."""
        return f"{self.tag}:pending"

    @property
    def lease(self) -> str:
        """Jobs in a worker's hands."""
        return f"{self.tag}:lease"

    @property
    def workers(self) -> str:
        """Workers and how long they count as alive."""
        return f"{self.tag}:workers"

    @property
    def speeds(self) -> str:
        """What workers measured."""
        return f"{self.tag}:speeds"

    @property
    def bell(self) -> str:
        """The tokens that wake waiting workers."""
        return f"{self.tag}:bell"

    @property
    def work(self) -> str:
        """What is still to be done, by when it is due."""
        return f"{self.tag}:work"

    def job(self, job_id: str) -> str:
        """A job."""
        return f"{self.tag}:job:{job_id}"

    def events(self, job_id: str) -> str:
        """A job's event stream."""
        return f"{self.tag}:ev:{job_id}"

    def image(self, job_id: str) -> str:
        """A job's image."""
        return f"{self.tag}:image:{job_id}"

    def plan(self, plan_id: str) -> str:
        """A binding quote."""
        return f"{self.tag}:plan:{plan_id}"

    def ended(self, job_id: str) -> str:
        """What is remembered of a job."""
        return f"{self.tag}:ended:{job_id}"

    def wake(self, process: str) -> str:
        """The stream that wakes the event reader of one process."""
        return f"{self.tag}:wake:{process}"

    @property
    def for_scripts(self) -> tuple[str, ...]:
        """What every script gets as KEYS, in the order in which common.lua unpacks it; the last seven are prefixes."""
        sets = (self.pending, self.lease, self.workers, self.speeds, self.bell)
        rate = (f"{self.tag}:drain", f"{self.tag}:clock")
        fair = tuple(f"{self.tag}:{name}" for name in ("promised", "active", "idle", "owed", "asked", "of:", "due:"))
        jobs = (self.job(""), self.events(""), self.image(""), self.ended(""), self.plan(""))
        return (*sets, *rate, self.work, *fair, *jobs)


@lru_cache(maxsize=256)
def queue_keys(model: str) -> QueueKeys:
    """The key names of a model's queue.

    Raises:
        ValueError: the model's name cannot stand in a key.
    """
    return QueueKeys(f"{{q:{slug_of(model)}}}")
