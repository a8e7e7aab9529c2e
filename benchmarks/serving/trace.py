"""What arrives when: Poisson arrivals of requests with mixed step budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from types import MappingProxyType

import numpy as np

from workers.shapes.language import sample_prompts

MIX: Mapping[int, float] = MappingProxyType({4: 0.50, 8: 0.30, 20: 0.15, 50: 0.05})
"""The workload `mixed`: the share of each step budget."""

_MOST = 20_000  # arrivals of a trace; far more than a machine that draws them could answer
_SEEDS = 1_000_000  # between the seeds of one trace and of the next


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request.

    Attributes:
        at_s: when it is sent, seconds from the trace's start.
        prompt: a sentence of shapes-64.
        steps: its step budget.
        seed: of its starting noise.
    """

    at_s: float
    prompt: str
    steps: int
    seed: int


def make_trace(per_s: float, seconds: float, seed: int) -> tuple[Arrival, ...]:
    """Poisson arrivals of the mix.

    The requests, and the gaps between them in units of the mean gap, depend on the seed alone: at twice the rate the
    same requests come in the same order, twice as fast. So loads differ in nothing but the load.

    Args:
        per_s: mean arrivals a second, > 0.
        seconds: no arrival is later; > 0.
        seed: the same gives the same.

    Raises:
        ValueError: the trace would have no end in sight.
    """
    if not (per_s > 0 and seconds > 0 and per_s * seconds < _MOST / 2):
        raise ValueError(f"a trace has between 0 and {_MOST // 2} arrivals, not {per_s} a second for {seconds} s")
    draws = np.random.default_rng(seed)
    times = np.cumsum(draws.exponential(size=_MOST)) / per_s
    steps = draws.choice(list(MIX), size=_MOST, p=list(MIX.values()))
    count = len(list(takewhile(lambda at_s: at_s <= seconds, times)))
    prompts = sample_prompts(_MOST, seed)
    # The language's kinds come in turn; in a random order they are as mixed as the budgets.
    order = draws.permutation(_MOST)
    return tuple(
        Arrival(float(times[i]), str(prompts[order[i]]), int(steps[i]), _SEEDS * seed + i) for i in range(count)
    )


def make_burst(count: int, seed: int) -> tuple[Arrival, ...]:
    """That many requests at once, of the mix in exact shares as far as they go."""
    budgets = sorted(MIX, key=MIX.__getitem__, reverse=True)
    wanted = np.round(np.cumsum([MIX[steps] for steps in budgets]) * count).astype(int)
    steps = np.repeat(budgets, np.diff(wanted, prepend=0))
    np.random.default_rng(seed).shuffle(steps)
    prompts = sample_prompts(count, seed)
    return tuple(Arrival(0.0, str(prompts[i]), int(steps[i]), _SEEDS * seed + i) for i in range(count))


def mean_seconds(solo_s: Mapping[int, float]) -> float:
    """Seconds that a request of the mix takes in the mean, from those that each budget takes alone."""
    return sum(share * solo_s[steps] for steps, share in MIX.items())
