"""What callers want: pictures by a deadline, some of them with a floor of quality."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import numpy as np

from workers.shapes.language import Prompt
from workers.shapes.score import Task, task_prompts

FIXED_STEPS = 20
"""What a server without budgets draws every picture with."""
LEAST_STEPS = 4

Floor = tuple[Literal["min_quality", "min_psnr_db"], float]
FLOORS: tuple[tuple[Floor | None, float], ...] = (
    (None, 0.6), (("min_quality", 0.9), 0.1), (("min_quality", 0.95), 0.1), (("min_psnr_db", 40.0), 0.1),
    (("min_psnr_db", 45.0), 0.1),
)  # fmt: skip
"""Floors and the shares of wishes that have them; those without take any number of steps from the least on."""
DEADLINES = (1.5, 5.0)
"""Least and most of the deadlines, in times that a picture of the fixed steps takes alone."""

_MOST = 20_000
_SEEDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture that is wanted.

    Attributes:
        at_s: when it is asked for, seconds from the start.
        task: that its picture is judged by.
        prompt: what it shall show.
        seed: of its noise.
        deadline_s: seconds from then until it is worth nothing.
        floor: the least quality that is accepted; None for any.
    """

    at_s: float
    task: Task
    prompt: Prompt
    seed: int
    deadline_s: float
    floor: Floor | None

    def budget(self, *, fixed: bool, told: bool) -> dict[str, Any]:
        """What a request for it says.

        Args:
            fixed: of the fixed steps, or of as many as planned.
            told: whether it names its deadline.
        """
        deadline = {"latency_ms": round(1000 * self.deadline_s)} if told else {}
        if fixed:
            return {"steps": FIXED_STEPS, **deadline}
        least: dict[str, float] = {"min_steps": LEAST_STEPS} if self.floor is None else {self.floor[0]: self.floor[1]}
        return {**least, "max_steps": FIXED_STEPS, **deadline}


def make_wishes(per_s: float, seconds: float, seed: int, solo_s: float) -> tuple[Wish, ...]:
    """Poisson arrivals; the same seed gives the same wishes in the same order at any rate.

    Args:
        per_s: mean arrivals a second.
        seconds: no arrival is later.
        seed: of the arrivals, the prompts and the pictures.
        solo_s: what a picture of the fixed steps takes alone.

    Raises:
        ValueError: so many wishes are not made.
    """
    if not 0 < per_s * seconds < _MOST / 2:
        raise ValueError(f"a trace has between 0 and {_MOST // 2} arrivals, not {per_s:g} a second for {seconds:g} s")
    draws = np.random.default_rng(seed)
    times = np.cumsum(draws.exponential(size=_MOST)) / per_s
    kinds = draws.choice(len(FLOORS), size=_MOST, p=[share for _, share in FLOORS])
    factors = draws.uniform(*DEADLINES, size=_MOST)
    asked = task_prompts(_MOST, seed)
    order = draws.permutation(_MOST)
    count = len(list(takewhile(lambda at_s: at_s <= seconds, times)))
    return tuple(
        Wish(
            float(times[i]), *asked[int(order[i])], _SEEDS * seed + i, round(float(factors[i]) * solo_s, 3),
            FLOORS[kinds[i]][0],
        )
        for i in range(count)
    )  # fmt: skip
