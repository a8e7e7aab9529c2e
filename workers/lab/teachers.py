"""Teachers that are made once and kept on disk, with what they cost when they were made."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from schedules.search.teacher import Teacher
from workers.lab.meter import Meter
from workers.lab.store import Json, Key, LabStore

_COSTS = "teacher-costs"

Cost = tuple[int, float]
"""Forwards of the network, and seconds of wall-clock."""


def costed(meter: Meter, make: Callable[[], Json]) -> Json:
    """A result with the "evaluations" and "seconds" that it took."""
    before, start = meter.evaluations, time.perf_counter()
    made = make()
    return {**made, "evaluations": meter.evaluations - before, "seconds": time.perf_counter() - start}


def kept_teacher(store: LabStore, meter: Meter, device: torch.device, key: Key, make: Callable[[], Teacher]) -> Teacher:
    """A teacher's trajectories, read or made; where they are made, their cost is kept too."""
    made: list[Teacher] = []

    def teach() -> Json:
        made.append(make())
        return {}

    def make_and_count() -> Teacher:
        store.record(_COSTS, key, lambda: costed(meter, teach), again=True)
        return made[0]

    return store.teacher(key, device, make_and_count)


def teacher_cost(store: LabStore, key: Key) -> Cost | None:
    """What a kept teacher cost; None where nobody counted."""
    if not store.known(_COSTS, key):
        return None
    record = store.record(_COSTS, key, dict)
    return int(str(record["evaluations"])), float(str(record["seconds"]))
