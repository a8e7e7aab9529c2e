"""What a search will cost in network evaluations, roughly and from above, so that a time left can be told."""

from __future__ import annotations

from workers.lab.bench import Bench

_LEARNED_STARTS = 6


def expectation(bench: Bench) -> float:
    """The whole run."""
    request = bench.request
    teachers = (2 * request.seeds + request.held_out) * request.teacher_steps * bench.branches
    budgets = sum(budget_cost(bench, steps) + evidence_cost(bench, steps) for steps in request.budgets)
    return teachers + paths_cost(bench) + budgets


def paths_cost(bench: Bench) -> float:
    """The path search: every node in every round, for each candidate; learned coefficients do without."""
    request = bench.request
    if request.learned:
        return 0.0
    candidates = 2 if request.cost == "x0" else 1
    rounds = min(request.path_budget, request.budgets[-1])
    return candidates * request.grid * rounds * request.path_seeds * bench.branches


def budget_cost(bench: Bench, steps: int) -> float:
    """One budget: rollouts of starts and baselines on a few seeds, the refinement, its validation."""
    request = bench.request
    starts, rounds = (_LEARNED_STARTS, bench.learning.rounds) if request.learned else (2, 1)
    screened = (len(request.baselines) + starts) * request.screen
    refined = max(request.refine, steps) if request.is_anchor(steps) else steps
    return (steps * (screened + 3 * request.seeds) + rounds * refined * request.seeds) * bench.branches


def evidence_cost(bench: Bench, steps: int) -> float:
    """One budget's grid and the baselines on the held-out seeds."""
    return steps * (1 + len(bench.request.baselines)) * bench.request.held_out * bench.branches
