"""The same wishes through the simulator, with the speed that the real workers measured of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.budget.wishes import Wish
from pacer.control.budget_request import BudgetRequest
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.service import simulate_service
from pacer.jobs.connection import connect_async
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.store import JobStore
from pacer.models import ModelCard
from pacer.settings import Settings
from schedules.registry import Registry


def simulated_goodput(
    wishes: Sequence[Wish], seconds: float, card: ModelCard, speed: WorkerSpeed, registry: Registry
) -> float:
    """Pictures in time a second that one worker is said to draw under budgets."""
    trace = [Asked(wish.at_s, _request(wish, card)) for wish in wishes]
    outcomes = simulate_service(trace, registry, speed, 1, Settings()).outcomes
    return sum(one.in_time for one in outcomes) / seconds


def published_speed(url: str, model: str) -> WorkerSpeed | None:
    """What the live workers of a store measured."""

    async def ask() -> WorkerSpeed | None:
        async with connect_async(url) as client:
            return await JobStore(client, Settings()).speed(model)

    return asyncio.run(ask())


def _request(wish: Wish, card: ModelCard) -> BudgetRequest:
    said = wish.budget(fixed=False, told=True)
    width, height = card.default_size
    return BudgetRequest(
        card=card,
        guidance_scale=card.guidance_scale,
        width=width,
        height=height,
        prompt=str(wish.prompt),
        latency_s=said.pop("latency_ms") / 1000,
        **said,
    )
