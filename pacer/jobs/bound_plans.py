"""Binding quotes: plans that are kept for a while, to be used once."""

from __future__ import annotations

from typing import cast

import msgspec
import redis.asyncio

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.connection import store_errors
from pacer.jobs.keys import model_of, new_job_id, queue_keys
from pacer.jobs.messages import Plan, TableMessage


class BoundPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was quoted, and for what."""

    owner: str
    plan: Plan
    table: TableMessage
    width: int
    height: int
    guidance_scale: float
    images: int
    latency_s: float | None
    """Seconds from the arrival of the request that uses it, None without a deadline."""
    strength: float | None
    """Of the picture to start from, None without one."""
    true_cfg_scale: float = 1.0
    masked: bool = False
    """Whether a part of the picture is kept."""
    prompt: str | None = None
    """That it was planned for, None where none was said."""


class BoundPlans:
    """Keeps quotes and finds them; JobStore.submit uses them up. Every method raises store_unavailable as it does."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def keep(self, bound: BoundPlan, seconds: int) -> tuple[str, float]:
        """Keep a quote for so many seconds; returns its id, and when it ends in Unix seconds of the store's clock."""
        plan_id = new_job_id(bound.plan.model)
        key = queue_keys(bound.plan.model).plan(plan_id)
        with store_errors():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.set(key, msgspec.msgpack.encode(bound), ex=seconds)
                pipe.pexpiretime(key)
                _, ends_ms = await pipe.execute()
        return plan_id, ends_ms / 1000

    async def find(self, plan_id: str, owner: str) -> BoundPlan:
        """The quote of an id that this owner was given.

        Raises:
            PacerError: plan_not_binding.
        """
        try:
            key = queue_keys(model_of(plan_id)).plan(plan_id)
        except ValueError as error:
            raise not_binding("is no id that POST /v1/plan gave") from error
        with store_errors():
            packed = cast("bytes | None", await self._client.get(key))
        if packed == b"":
            raise not_binding("was used already")
        bound = None if packed is None else msgspec.msgpack.decode(packed, type=BoundPlan)
        if bound is None or bound.owner != owner:
            raise not_binding("is past its time, or was never given to you")
        return bound


def not_binding(detail: str) -> PacerError:
    """The error that blames the plan's id."""
    return PacerError(ErrorKind.plan_not_binding, f"plan_id: {detail}", field="plan_id")
