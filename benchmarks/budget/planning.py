"""What planning costs the gateway, from the store's aggregate of a long queue."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np

from pacer.control.budget_request import BudgetRequest
from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.control.planner import plan
from pacer.control.work import Work, packed, slot_at
from pacer.jobs.messages import WorkerSpeed
from pacer.models import ModelCard
from schedules.registry import Registry

_JOBS, _NOW_MS = 64, 1_000_000
_REPEATS, _CALLS = 15, 40
_SPEED = WorkerSpeed(0.009, 0.0068, 0.005, 0.008)
_PROMPT = "two red circles on a blue background"


def microseconds(card: ModelCard, registry: Registry) -> dict[str, float]:
    """Median microseconds of a plan, the reading of the load included: without work, behind some, with a floor too."""
    width, height = card.default_size
    request = BudgetRequest(card=card, guidance_scale=card.guidance_scale, width=width, height=height, latency_s=2.0)
    floored = replace(request, latency_s=5.0, min_psnr_db=40.0, prompt=_PROMPT)

    def planned(request: BudgetRequest, work: bytes) -> None:
        load = Load(_SPEED, 8, _NOW_MS, Work.read(work, _NOW_MS))
        plan(request, registry, Forecast.of(load, request.latency_s), degrade_at=0.5)

    ways = {"idle": (request, b""), f"{_JOBS} jobs": (request, _work()), "with a floor": (floored, _work())}
    return {name: _median_us(partial(planned, *way)) for name, way in ways.items()}


def _work() -> bytes:
    """Sums as the store tells them."""
    draws, work = np.random.default_rng(0), dict[str, int]()
    for due_s, steps in zip(draws.uniform(0.2, 10.0, _JOBS), draws.integers(4, 21, _JOBS), strict=True):
        slot = slot_at(_NOW_MS + 1000 * due_s, _NOW_MS)
        work[f"d{slot}"] = work.get(f"d{slot}", 0) + 2 * int(steps)
        work[f"n{slot}"] = work.get(f"n{slot}", 0) + 1
    return packed(work)


def _median_us(planned: Callable[[], None]) -> float:
    taken = timeit.repeat(planned, number=_CALLS, repeat=_REPEATS)
    return 1e6 * median(taken) / _CALLS
