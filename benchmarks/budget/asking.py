"""The open loop: every wish is asked for when it is due, whatever became of those before it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from benchmarks.budget.ways import Way
from benchmarks.budget.wishes import Wish
from benchmarks.serving.figures import State
from benchmarks.serving.servers import state_of

ROUTE = "/v1/images/generations"
_LEAD_S = 0.2
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a wish.

    Attributes:
        wish: the wish.
        state: how it ended.
        latency_s: seconds from when it was due until the answer.
        facts: what the answer tells of the plan and what it took; None without a picture.
        picture: the file; empty without one.
    """

    wish: Wish
    state: State
    latency_s: float
    facts: dict[str, Any] | None = None
    picture: bytes = b""

    @property
    def in_time(self) -> bool:
        """Whether there was a picture by the deadline."""
        return self.state == "drawn" and self.latency_s <= self.wish.deadline_s


def body(wish: Wish, guidance_scale: float, budget: dict[str, Any], **fields: object) -> dict[str, object]:
    """A request for a wish."""
    return {
        "prompt": str(wish.prompt), "seed": wish.seed, "guidance_scale": guidance_scale, "budget": budget, **fields,
    }  # fmt: skip


async def ask_all(url: str, way: Way, wishes: Sequence[Wish], guidance_scale: float) -> list[Answer]:
    """Ask for every wish at its time; answers in their order."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    until_s = max(wish.at_s + wish.deadline_s for wish in wishes) + _GRACE_S
    async with httpx2.AsyncClient(base_url=url, timeout=None, limits=limits) as client:
        start = time.monotonic() + _LEAD_S

        async def ask(wish: Wish) -> Answer:
            said = body(wish, guidance_scale, wish.budget(fixed=way.fixed, told=way.told))
            due = start + wish.at_s
            await asyncio.sleep(due - time.monotonic())
            try:
                async with asyncio.timeout(start + until_s - time.monotonic()):
                    got = await client.post(ROUTE, json=said)
            except TimeoutError:
                return Answer(wish, "unanswered", time.monotonic() - due)
            except httpx2.HTTPError:
                return Answer(wish, "failed", time.monotonic() - due)
            latency_s, state = time.monotonic() - due, state_of(got.status_code)
            if state != "drawn":
                return Answer(wish, state, latency_s)
            answer: dict[str, Any] = got.json()
            return Answer(wish, state, latency_s, answer["pacer"], base64.b64decode(answer["data"][0]["b64_json"]))

        return list(await asyncio.gather(*(ask(wish) for wish in wishes)))
