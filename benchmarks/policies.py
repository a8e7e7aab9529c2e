"""The batcher's policies under load, simulated: the table of docs/engine.md, in a minute and without a network.

python -m benchmarks.policies
"""

from __future__ import annotations

from statistics import fmean

import numpy as np
from rich.console import Console
from rich.table import Table

from pacer.control.batcher import Batcher
from pacer.control.policies import POLICIES, Policy
from pacer.control.simulator import Arrival, Outcome, simulate
from pacer.control.turns import TurnCost

COST = TurnCost(0.009, 0.0068)  # shapes-64 on a core of an AMD EPYC
BUDGETS, SHARES = (4, 8, 20, 50), (0.5, 0.3, 0.15, 0.05)
LOADS, PATIENT_LOADS = (3.0, 5.0, 7.0, 10.0, 14.0), (5.0, 6.5)
SEEDS, COUNT = 3, 600
SLOTS, ROWS = 16, 16


def arrivals(load: float, seed: int, *, best_effort: bool = False) -> list[Arrival]:
    """Poisson arrivals of guided requests, their deadlines three times the solo time."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / load, COUNT))
    steps = rng.choice(BUDGETS, COUNT, p=SHARES).tolist()
    allowed = [60.0 if best_effort else 3 * COST.seconds(n, 2 * n) for n in steps]
    return [
        Arrival(float(at), (2,) * n, s, best_effort) for at, n, s in zip(times.tolist(), steps, allowed, strict=True)
    ]


def outcomes(policy: Policy, load: float, seed: int, *, best_effort: bool = False) -> list[Outcome]:
    """What becomes of them."""
    return simulate(arrivals(load, seed, best_effort=best_effort), Batcher(SLOTS, ROWS, policy, 30.0), COST)


def goodput(policy: Policy, load: float) -> float:
    """Images in time a second."""
    runs = (outcomes(policy, load, seed) for seed in range(SEEDS))
    return fmean(sum(one.in_time for one in ended) / max(one.done_s or 0.0 for one in ended) for ended in runs)


def latency_s(policy: Policy, load: float) -> float:
    """Mean latency where nothing has a deadline."""
    runs = (outcomes(policy, load, seed, best_effort=True) for seed in range(SEEDS))
    return fmean(fmean(one.latency_s for one in ended if one.latency_s is not None) for ended in runs)


def main() -> None:
    """Print the table."""
    table = Table("policy", *(f"in time at {load:g}/s" for load in LOADS), *(f"s at {x:g}/s" for x in PATIENT_LOADS))
    for name, policy in POLICIES.items():
        cells = [goodput(policy, load) for load in LOADS] + [latency_s(policy, load) for load in PATIENT_LOADS]
        table.add_row(name, *(f"{cell:.2f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
