"""What surrounds every request: its id, its log line, its Server-Timing, and the last net under it."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import answer
from pacer.errors import ErrorKind, PacerError

REQUEST_ID = "X-Request-Id"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestContext:
    """Middleware, the outermost: a caller's X-Request-Id is kept when it is harmless, otherwise one is made."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its context."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        # A connection whose reading was paused for a large body goes on in the context of that body's request.
        structlog.contextvars.clear_contextvars()
        with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
            try:
                await self._app(scope, receive, exchange.send)
            except Exception:  # noqa: BLE001  the last net: whatever comes is a bug, told and logged
                await exchange.fail(receive)
            finally:
                exchange.log()


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get(REQUEST_ID, "")
        self.request_id = given if _ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex
        self._scope = scope
        self._send = send
        self._started_s = time.perf_counter()
        self._status: int | None = None
        # The scope's own dictionary may be shared between requests; this one is this request's.
        self._state = scope["state"] = {**scope.get("state", {}), "request_id": self.request_id, "server_timing": {}}

    async def send(self, message: Message) -> None:
        """Add the headers to the answer's start."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            headers["Server-Timing"] = server_timing({**self._state["server_timing"], "total": self._elapsed_s()})
        await self._send(message)

    async def fail(self, receive: Receive) -> None:
        """Answer for a bug; when the answer has begun already, only the connection can be cut."""
        structlog.get_logger().exception("unhandled")
        if self._status is not None:
            raise  # noqa: PLE0704  called from the except clause that holds the exception
        error = PacerError(ErrorKind.internal, "the gateway met a condition that it does not know.")
        response = answer(error, path=self._scope["path"], request_id=self.request_id)
        await response(self._scope, receive, self.send)

    def log(self) -> None:
        """One line per request."""
        path = self._scope["path"]
        log = structlog.get_logger()
        write = log.debug if path in _QUIET else log.info
        facts = {"status": self._status, "elapsed_s": round(self._elapsed_s(), 4), **self._state.get("refused", {})}
        write("request", method=self._scope["method"], path=path, **facts)

    def _elapsed_s(self) -> float:
        return time.perf_counter() - self._started_s


def server_timing(durations_s: dict[str, float]) -> str:
    """The Server-Timing header, in milliseconds as its standard has it."""
    return ", ".join(f"{name};dur={seconds * 1e3:.1f}" for name, seconds in durations_s.items())
