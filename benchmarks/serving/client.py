"""The open loop: every request is sent when it is due, whatever became of those before it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx2

from benchmarks.serving.figures import Outcome, State
from benchmarks.serving.servers import Machine, Server, state_of
from benchmarks.serving.trace import Arrival

_LEAD_S = 0.2  # between the start of the clock and the first request
_ONCE_S = 120.0  # most that a single request is waited for
_DETAIL = 200  # characters kept of what a failure said


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks one server.

    Attributes:
        server: which one.
        machine: what is equal for all.
        url: its root.
        deadlines: whether it is told the requests' deadlines, where it takes them.
    """

    server: Server
    machine: Machine
    url: str
    deadlines: bool

    def ask_once(
        self, arrival: Arrival, deadline_s: float | None = None, timeout_s: float = _ONCE_S
    ) -> tuple[int, bytes]:
        """Ask and wait: the status, and the picture's file or whatever else was said; status 0 if nobody answered."""
        body = self.server.body(arrival, self.machine, deadline_s)
        try:
            answer = httpx2.post(f"{self.url}{self.server.route}", json=body, timeout=timeout_s)
        except httpx2.HTTPError as error:
            return 0, str(error).encode()
        good = answer.status_code == 200
        return answer.status_code, self.server.picture(answer.content) if good else answer.content


async def replay(
    caller: Caller,
    trace: Sequence[Arrival],
    deadlines_s: Mapping[int, float],
    until_s: float,
    on_second: Callable[[float], None] = lambda _: None,
) -> list[Outcome]:
    """Send a trace.

    Args:
        caller: who asks whom.
        trace: what is sent.
        deadlines_s: of each step budget, seconds from when a request is due.
        until_s: seconds from the start after which nobody waits any more.
        on_second: told the seconds since the start, now and then.

    Returns:
        What became of each request, in order.
    """
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=caller.url, timeout=None, limits=limits) as client:
        start = time.monotonic() + _LEAD_S
        line = _Line(caller, client, start, deadlines_s)
        tasks = [asyncio.create_task(line.send(arrival, until_s)) for arrival in trace]
        waiting = set(tasks)
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=0.5)
            on_second(time.monotonic() - start)
    return [task.result() for task in tasks]


@dataclass(frozen=True, slots=True)
class _Line:
    caller: Caller
    client: httpx2.AsyncClient
    start: float
    deadlines_s: Mapping[int, float]

    async def send(self, arrival: Arrival, until_s: float) -> Outcome:
        """Send one request when it is due, and wait for its answer."""
        deadline_s = self.deadlines_s[arrival.steps]
        told_s = deadline_s if self.caller.deadlines else None
        body = self.caller.server.body(arrival, self.caller.machine, told_s)
        due = self.start + arrival.at_s
        await asyncio.sleep(due - time.monotonic())
        late_s = time.monotonic() - due
        state: State
        try:
            async with asyncio.timeout(self.start + until_s - time.monotonic()):
                answer = await self.client.post(self.caller.server.route, json=body)
        except TimeoutError:
            state, detail = "unanswered", ""
        except httpx2.HTTPError as error:
            state, detail = "failed", type(error).__name__
        else:
            state = state_of(answer.status_code)
            detail = "" if state == "drawn" else f"{answer.status_code} {answer.text[:_DETAIL]}"
        return Outcome(arrival.steps, arrival.at_s, late_s, time.monotonic() - due, deadline_s, state, detail)
