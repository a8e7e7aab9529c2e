"""Traces out of nothing but a rate: Poisson arrivals of mixed budgets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pacer.control.budget_request import BudgetRequest, check_bounds
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.control.simulation.asked import Asked
from pacer.errors import PacerError
from pacer.jobs.messages import WorkerSpeed
from pacer.models import ModelCard
from schedules.registry import Registry

_MOST = 5_000_000  # requests of a trace, for the memory's sake


@dataclass(frozen=True, slots=True)
class Share:
    """A budget of the mix.

    Attributes:
        least: its fewest steps.
        most: its most steps; where they are equal the budget says `steps`.
        weight: how often it is asked for, in relation to the others.
    """

    least: int
    most: int
    weight: float


def read_shares(text: str) -> tuple[Share, ...]:
    """Budgets as an option says them: `4:50,8:30` are steps and weights, `4-20:30` is a range of steps.

    Raises:
        ValueError: the text is no such list.
    """
    return tuple(_share(part) for part in text.split(","))


def _share(text: str) -> Share:
    steps, _, weight_text = text.partition(":")
    least, _, most = steps.partition("-")
    try:
        share = Share(int(least), int(most or least), float(weight_text))
    except ValueError:
        share = Share(0, 0, 0.0)
    if not (1 <= share.least <= share.most and 0 < share.weight < math.inf):
        raise ValueError(f"budgets: must be steps:weight or least-most:weight, as in 4:50,8-20:30; not {text[:80]!r}")
    return share


def poisson_trace(
    card: ModelCard,
    shares: Sequence[Share],
    *,
    per_s: float,
    seconds: float,
    seed: int,
    factors: tuple[float, float] | None,
    registry: Registry,
    speed: WorkerSpeed,
    max_steps: int = 100,
) -> tuple[Asked, ...]:
    """Requests at random: the same seed gives the same, at any rate in the same order.

    Args:
        card: of the model that is asked for.
        shares: the budgets.
        per_s: mean arrivals a second, above 0.
        seconds: no arrival is later; above 0.
        seed: 0 or more.
        factors: least and most that a deadline may be, in service times of an image of its budget (of its most steps)
            that waits for nobody; None sets no deadlines.
        registry: the schedules at hand.
        speed: of a worker.
        max_steps: the largest budget allowed.

    Raises:
        ValueError: an argument is out of its range.
    """
    _check(per_s, seconds, seed, factors)
    gaps, mix, slack = (np.random.default_rng((seed, stream)) for stream in range(3))
    times = _times(gaps, per_s, seconds)
    weights = np.array([share.weight for share in shares])
    kinds = mix.choice(len(shares), size=len(times), p=weights / weights.sum())
    requests = [_request(card, share, max_steps) for share in shares]
    if factors is None:
        return tuple(Asked(at, requests[kind]) for at, kind in zip(times, kinds.tolist(), strict=True))
    solo_s = [_solo_s(request, registry, speed, max_steps) for request in requests]
    drawn = slack.uniform(*factors, size=len(times)).tolist()
    return tuple(
        Asked(at, replace(requests[kind], latency_s=round(factor * solo_s[kind], 3) or 0.001))
        for at, kind, factor in zip(times, kinds.tolist(), drawn, strict=True)
    )


def _check(per_s: float, seconds: float, seed: int, factors: tuple[float, float] | None) -> None:
    for name, value in (("rate", per_s), ("seconds", seconds)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: must be above 0 and finite, is {value:g}")
    if per_s * seconds > _MOST:
        raise ValueError(f"rate x seconds: at most {_MOST:,} requests are simulated, these are {per_s * seconds:,.0f}")
    if seed < 0:
        raise ValueError(f"seed: must be 0 or more, is {seed}")
    if factors is not None and not 0 < factors[0] <= factors[1] < math.inf:
        raise ValueError(f"deadline-factor: must be two numbers above 0, the least first, are {factors}")


def _times(draws: np.random.Generator, per_s: float, seconds: float) -> list[float]:
    """Arrival times up to the end; gaps are drawn in units of the mean gap."""
    mean = per_s * seconds
    blocks = [draws.exponential(size=int(mean + 6 * math.sqrt(mean)) + 10)]
    while sum(float(block.sum()) for block in blocks) <= mean:
        blocks.append(draws.exponential(size=1000))
    times = np.cumsum(np.concatenate(blocks)) / per_s
    return [round(at, 6) for at in times[times <= seconds].tolist()]


def _request(card: ModelCard, share: Share, max_steps: int) -> BudgetRequest:
    width, height = card.default_size
    request = BudgetRequest(card=card, guidance_scale=card.guidance_scale, width=width, height=height)
    if share.least == share.most:
        request = replace(request, steps=share.least)
    else:
        request = replace(request, min_steps=share.least, max_steps=share.most)
    try:
        check_bounds(request, max_steps)
    except PacerError as error:
        raise ValueError(f"budgets: {error.detail}") from error
    return request


def _solo_s(request: BudgetRequest, registry: Registry, speed: WorkerSpeed, max_steps: int) -> float:
    """Seconds of an image of the budget's most steps that waits for nobody."""
    steps = request.steps or request.max_steps
    longest = replace(request, steps=steps, min_steps=None, max_steps=None)
    planned, _ = plan(longest, registry, Forecast(speed), max_steps=max_steps)
    return planned.predicted_seconds or 0.0
