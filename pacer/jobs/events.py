"""Reading event streams: one blocking XREAD for all the jobs of a queue that this process follows."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import redis.asyncio
from redis.exceptions import RedisError

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import MAX_BLOCK_S, unavailable
from pacer.jobs.keys import QueueKeys
from pacer.jobs.messages import TERMINAL, Event, EventKind

Position: TypeAlias = tuple[int, int]
"""A place in a stream: milliseconds and sequence."""
Entry: TypeAlias = tuple[bytes, dict[bytes, bytes]]

_POSITION = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")
_MOST = 2**63 - 1
_WAKE_TTL_S = 60
_BATCH = 512


def parse_position(text: str) -> Position:
    """A stream id as a client sends it back: "MILLISECONDS-SEQUENCE".

    Raises:
        PacerError: invalid_request, when it is none.
    """
    match = _POSITION.fullmatch(text)
    position = (int(match[1]), int(match[2] or 0)) if match else None
    if position is None or max(position) > _MOST:
        raise PacerError(
            ErrorKind.invalid_request,
            f"must be the id of an event, as '1700000000000-0', is {text[:64]!r}",
            field="Last-Event-ID",
        )
    return position


def event_of(entry: Entry) -> Event:
    """An event from its stream entry."""
    name, fields = entry
    kind = cast("EventKind", fields[b"kind"].decode())
    detail = fields[b"detail"].decode() or None
    return Event(name.decode(), kind, int(fields[b"step"]), int(fields[b"total"]), detail)


def _position(entry: Entry) -> Position:
    return parse_position(entry[0].decode())


def is_last(event: Event) -> bool:
    """Whether nothing follows it."""
    return event.kind in TERMINAL


def _streams(reply: object) -> list[tuple[str, list[Entry]]]:
    # A client that speaks RESP3 answers with a dict of lists of lists, else with pairs.
    if isinstance(reply, dict):
        return [(name.decode(), [entry for part in parts for entry in part]) for name, parts in reply.items()]
    return [(name.decode(), entries) for name, entries in cast("list[tuple[bytes, list[Entry]]]", reply)]


def _honour_cancellation() -> None:
    # Python 3.11's wait_for, with which the client sends, may swallow a cancellation (fixed in 3.12). What waits for
    # long after a call of the client would then wait for ever.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@dataclass(slots=True, eq=False)
class _Follower:
    seen: Position
    """Set by the reader: everything up to here is in the inbox, or was not asked for."""
    inbox: asyncio.Queue[Event | PacerError] = field(default_factory=asyncio.Queue)


class EventFeed:
    """Follows any number of jobs of one queue with one connection.

    A reader task lives as long as somebody follows. It reads each stream from where its hindmost follower is; the
    others skip what they have seen.
    """

    def __init__(self, client: redis.asyncio.Redis, keys: QueueKeys) -> None:
        self._client = client
        self._keys = keys
        self._wake_key = keys.wake(secrets.token_hex(8))
        self._wake_cursor: Position = (0, 0)
        self._followers: dict[str, set[_Follower]] = {}
        self._task: asyncio.Task[None] | None = None

    async def follow(self, job_id: str, after: Position) -> AsyncGenerator[Event, None]:
        """The events of a job that come after a position, up to and with the last one.

        Raises:
            PacerError: store_unavailable, when reading failed for good.
        """
        _honour_cancellation()
        stream, follower = self._keys.events(job_id), _Follower(after)
        self._followers.setdefault(stream, set()).add(follower)
        try:
            await self._ensure_reading()
            _honour_cancellation()
            while True:
                event = await follower.inbox.get()
                if isinstance(event, PacerError):
                    raise event
                yield event
                if is_last(event):
                    return
        finally:
            self._leave(stream, follower)

    async def close(self) -> None:
        """Stop reading; followers get an error."""
        while self._task is not None and not self._task.done():
            self._task.cancel()  # more than once, see _honour_cancellation
            await asyncio.wait({self._task}, timeout=0.05)
        self._tell_all(PacerError(ErrorKind.store_unavailable, "The gateway is shutting down.", retry_after_s=5.0))

    def _leave(self, stream: str, follower: _Follower) -> None:
        self._followers[stream].discard(follower)
        if not self._followers[stream]:
            del self._followers[stream]

    async def _ensure_reading(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
            return
        # The blocked XREAD does not know the new stream; an entry in the stream that it always reads wakes it, also
        # when it comes before the next XREAD began.
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.xadd(self._wake_key, {b"w": b""}, maxlen=1, approximate=False)
                pipe.expire(self._wake_key, _WAKE_TTL_S)
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise unavailable(error) from error

    async def _read(self) -> None:
        while self._followers:
            asked = {stream: min(each.seen for each in group) for stream, group in self._followers.items()}
            try:
                reply = await self._xread(asked)
                _honour_cancellation()
            except (RedisError, OSError) as error:
                self._tell_all(unavailable(error))
                return
            for stream, entries in reply:
                self._hand_on(stream, entries, asked)

    async def _xread(self, asked: dict[str, Position]) -> list[tuple[str, list[Entry]]]:
        positions = {**asked, self._wake_key: self._wake_cursor}
        reply = await self._client.xread(
            {stream: f"{ms}-{sequence}" for stream, (ms, sequence) in positions.items()},
            count=_BATCH,
            block=int(MAX_BLOCK_S * 1000),
        )
        return _streams(reply)

    def _hand_on(self, stream: str, entries: list[Entry], asked: dict[str, Position]) -> None:
        if stream == self._wake_key:
            self._wake_cursor = _position(entries[-1])
            return
        for follower in self._followers.get(stream, ()):
            # One who came while this was read wants older events first; the next reading begins with them.
            if follower.seen < asked[stream]:
                continue
            for entry in entries:
                if _position(entry) > follower.seen:
                    follower.inbox.put_nowait(event_of(entry))
                    follower.seen = _position(entry)

    def _tell_all(self, error: PacerError) -> None:
        for group in self._followers.values():
            for follower in group:
                follower.inbox.put_nowait(error)
