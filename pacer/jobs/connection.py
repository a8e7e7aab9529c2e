"""Clients of the store: binary replies, bounded retries, one kind of error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as StoreTimeoutError
from redis.retry import Retry

from pacer.errors import ErrorKind, PacerError

SOCKET_TIMEOUT_S = 5.0
MAX_BLOCK_S = 2.0
"""Longest blocking command; well under the socket's own timeout."""

_CONNECTIONS = 64
_RETRIES = 6
_BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
# A store that restarts refuses connections, then loads; after a failover the old primary is read-only for a moment.
_PASSING: tuple[type[RedisError], ...] = (StoreConnectionError, StoreTimeoutError, ReadOnlyError)


def connect(url: str) -> redis.Redis:
    """A client for threads; connects at its first command.

    Args:
        url: redis://, rediss:// or unix:// address.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=False,
        retry=Retry(_BACKOFF, _RETRIES, supported_errors=_PASSING),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """A client for asyncio; connects at its first command. Close it with `await client.aclose()`.

    Any number of tasks may call at once: they share 64 connections, and wait for a free one.

    Args:
        url: redis://, rediss:// or unix:// address.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=SOCKET_TIMEOUT_S,
        decode_responses=False,
        retry=AsyncRetry(_BACKOFF, _RETRIES, supported_errors=_PASSING),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns what the client raises after its retries into one error.

    Raises:
        PacerError: store_unavailable.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> PacerError:
    """The error for a store that does not answer, or refuses."""
    return PacerError(
        ErrorKind.store_unavailable, f"The store does not serve: {type(error).__name__}: {error}", retry_after_s=5.0
    )
