"""Single measurements: each against a server started for it alone."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.client import Caller, replay
from benchmarks.serving.figures import as_json as figures_json
from benchmarks.serving.figures import burst_throughput, figures_of
from benchmarks.serving.memory import Peak, watched
from benchmarks.serving.process import ServerError, running
from benchmarks.serving.results import Row
from benchmarks.serving.servers import SERVERS, Contestant, Machine, environment
from benchmarks.serving.trace import MIX, Arrival, make_burst
from scripts.live import free_port

GRACE_S = 2.0
"""Seconds after the last deadline in which answers are still waited for; later ones cannot be in time anyway."""

BURST_S = 300.0
"""The longest that a burst may take."""

_FIRST = Arrival(0.0, "a red circle on a white background", min(MIX), 0)
_COMPARED = (4, 4, 8, 8, 20, 20)
_READY_LOOK_S = 15.0  # what a server still starting has accepted it may never answer
_PROBE_S = 60.0

Told = Callable[[str], None]
Second = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that the stock pipeline drew alone; pixels are (height, width, 3), uint8."""

    arrival: Arrival
    pixels: NDArray[np.uint8]


@contextmanager
def served(contestant: Contestant, machine: Machine, *, deadlines: bool, tell: Told) -> Iterator[tuple[Caller, Peak]]:
    """A fresh server that draws, and its memory."""
    port = free_port()
    caller = Caller(contestant.server, machine, f"http://127.0.0.1:{port}", deadlines and not contestant.server.peer)
    command = contestant.server.command(machine, port)

    def ready() -> bool:
        return caller.ask_once(_FIRST, timeout_s=_READY_LOOK_S)[0] == 200

    with running(command, environment(machine, contestant.policy), ready) as process, watched(process) as peak:
        if caller.deadlines and _refuses_deadlines(caller):
            tell(f"{contestant.label} takes no budget.latency_ms: its requests go without deadlines")
            caller = replace(caller, deadlines=False)
        yield caller, peak


def _refuses_deadlines(caller: Caller) -> bool:
    """Whether the server does not know the field; that it takes it and cannot meet it is no refusal of this kind."""
    status, said = caller.ask_once(_FIRST, _PROBE_S)
    return status == 422 and b"latency_ms" in said


def solo(machine: Machine, repeats: int, seed: int, tell: Told) -> tuple[dict[int, float], list[Reference]]:
    """What the stock pipeline behind FastAPI does with requests that it has to itself.

    Args:
        machine: on which.
        repeats: requests of each budget that are timed; 0 times none.
        seed: of the pictures to compare with.
        tell: told what a person should know.

    Returns:
        The median seconds by step budget, and pictures of some budgets, two of each so that batches form.
    """
    wishes = [replace(one, steps=steps) for one, steps in zip(make_burst(len(_COMPARED), seed), _COMPARED, strict=True)]
    with served(Contestant(SERVERS["fastapi"]), machine, deadlines=False, tell=tell) as (caller, _):
        seconds = _solo_seconds(caller, repeats) if repeats else {}
        return seconds, [Reference(wish, _pixels(_drawn(caller, wish))) for wish in wishes]


def _solo_seconds(caller: Caller, repeats: int) -> dict[int, float]:
    taken: dict[int, list[float]] = {steps: [] for steps in MIX}
    _drawn(caller, _FIRST)
    # Budgets in turn, so that whatever else the machine does falls on all alike.
    for seed in range(repeats):
        for steps in MIX:
            started = time.monotonic()
            _drawn(caller, replace(_FIRST, steps=steps, seed=seed))
            taken[steps].append(time.monotonic() - started)
    return {steps: median(seconds) for steps, seconds in taken.items()}


def worst_difference(caller: Caller, wanted: Sequence[Reference]) -> int:
    """Ask for all at once; the largest difference of an 8-bit level from the stock pipeline's pictures."""
    with ThreadPoolExecutor(len(wanted)) as threads:
        files = list(threads.map(lambda one: _drawn(caller, one.arrival), wanted))
    return max(
        int(np.abs(_pixels(file).astype(np.int16) - one.pixels.astype(np.int16)).max())
        for file, one in zip(files, wanted, strict=True)
    )


def _drawn(caller: Caller, arrival: Arrival) -> bytes:
    status, said = caller.ask_once(arrival)
    if status != 200:
        raise ServerError(f"{caller.server.name} answered {status} to a single request: {said[:500]!r}")
    return said


def _pixels(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def measure_load(
    contestant: Contestant,
    machine: Machine,
    trace: Sequence[Arrival],
    deadlines_s: Mapping[int, float],
    wanted: Sequence[Reference],
    *,
    seconds: float,
    deadlines: bool,
    tell: Told,
    on_second: Second,
) -> Row:
    """An open loop of so many seconds. Raises ServerError."""
    with served(contestant, machine, deadlines=deadlines, tell=tell) as (caller, peak):
        difference = worst_difference(caller, wanted)
        until_s = seconds + max(deadlines_s.values()) + GRACE_S
        outcomes = asyncio.run(replay(caller, trace, deadlines_s, until_s, on_second))
        peak.look()
    return {
        **figures_json(figures_of(outcomes, seconds)),
        "peak_memory_mb": round(peak.mib, 1),
        "deadlines_sent": caller.deadlines,
        "worst_level_difference": difference,
    }


def measure_burst(
    contestant: Contestant, machine: Machine, burst: Sequence[Arrival], wanted: Sequence[Reference], *, tell: Told,
    on_second: Second,
) -> Row:  # fmt: skip
    """All requests at once, without deadlines. Raises ServerError."""
    with served(contestant, machine, deadlines=False, tell=tell) as (caller, peak):
        difference = worst_difference(caller, wanted)
        outcomes = asyncio.run(replay(caller, burst, dict.fromkeys(MIX, BURST_S), BURST_S, on_second))
        peak.look()
    return {
        "arrivals": len(outcomes),
        "throughput_per_s": burst_throughput(outcomes),
        "states": figures_of(outcomes, 1.0).states,
        "errors": figures_of(outcomes, 1.0).errors,
        "peak_memory_mb": round(peak.mib, 1),
        "worst_level_difference": difference,
    }
