"""Owners share what may be promised, from one event to the next: what a light one must count with beside heavy ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.service import Outcome, simulate_service
from pacer.jobs.messages import WorkerSpeed
from pacer.models import load
from pacer.settings import Settings
from schedules.registry import Registry

CARD = load("shapes-64")
REGISTRY = Registry.load()
SPEED = WorkerSpeed(0.009, 0.0068, 0.002, 0.004, 16, 0.02)
"""Of shapes-64 on one core, measured."""
SECONDS = 30.0
ANY = (1.02, 1.5, 3.0, 5.0, 20.0)
"""Deadlines in times that an image takes alone."""


def alone_s(steps: int) -> float:
    return 0.026 + steps * (0.009 + 2 * 0.0068)


def asked(at_s: float, owner: str, steps: int, due_s: float) -> Asked:
    width, height = CARD.default_size
    request = BudgetRequest(card=CARD, guidance_scale=CARD.guidance_scale, width=width, height=height)
    return Asked(at_s, replace(request, steps=steps, latency_s=round(due_s, 3)), owner)


def flood(owners: int, steps: tuple[int, ...], factors: tuple[float, ...]) -> list[Asked]:
    """Four times what a worker can draw."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(np.mean(steps) / 270, 20000))
    kinds = [int(one) for one in rng.choice(steps, len(times))]
    dues = [alone_s(kind) * float(one) for kind, one in zip(kinds, rng.choice(factors, len(times)), strict=True)]
    whose = [f"heavy {one}" for one in rng.integers(owners, size=len(times))]
    drawn = zip(times.tolist(), whose, kinds, dues, strict=True)
    return [asked(at_s, *one) for at_s, *one in drawn if at_s < SECONDS]


def light_ones(trace: list[Asked]) -> list[Outcome]:
    trace = sorted(trace, key=lambda one: one.at_s)
    done = simulate_service(trace, REGISTRY, SPEED, 1, Settings(replan=False)).outcomes
    return [one for one in done if one.asked.owner == "light"]


@pytest.mark.parametrize("steps", [1, 8, 20])
@pytest.mark.parametrize(
    ("owners", "heavy_steps", "factors"),
    [(1, (8,), (20.0,)), (1, (1, 4, 20), ANY), (1, (50,), (1.02, 2.0)), (3, (8,), ANY)],
)
def test_a_light_key_is_taken_in_at_once_beside_heavy_ones(
    steps: int, owners: int, heavy_steps: tuple[int, ...], factors: tuple[float, ...]
) -> None:
    """One image at a time, due in 2 (n + 1) times what it and the heavy keys' longest take, each alone."""
    due_s = 2 * (owners + 1) * (alone_s(steps) + alone_s(max(heavy_steps)))
    first = asked(0.0, "light", steps, 0.001)
    later = [asked(at_s, "light", steps, due_s) for at_s in np.arange(2.0, SECONDS, due_s).tolist()]
    outcomes = light_ones([first, *later, *flood(owners, heavy_steps, factors)])
    assert outcomes[0].state == "invalid", "no image is made so fast, and who asks in vain is known to ask"
    assert all(one.in_time for one in outcomes[1:])


@pytest.mark.parametrize("heavy_steps", [(8,), (8, 50)])
def test_who_comes_for_the_first_time_waits_less_than_its_own_deadline(heavy_steps: tuple[int, ...]) -> None:
    due_s = 4 * (alone_s(8) + alone_s(max(heavy_steps)))
    times = np.arange(15.0, 15.0 + due_s, 0.1).tolist()
    outcomes = light_ones([asked(at_s, "light", 8, due_s) for at_s in times] + flood(1, heavy_steps, (20.0,)))
    assert outcomes[0].state == "refused", "what was promised to others is kept"
    taken = next(one for one in outcomes if one.state == "completed")
    assert taken.in_time
    assert taken.asked.at_s - times[0] <= due_s / 2
