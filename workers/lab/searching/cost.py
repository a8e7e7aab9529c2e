"""What a search will cost in network evaluations, roughly and from above, so that a time left can be told."""

from __future__ import annotations

from collections.abc import Iterable

from schedules.search.pacer_options import Outlay
from schedules.search.pattern import Pattern, Smaller, starting_patterns
from schedules.search.sensitivity import sensitivity_cost
from workers.lab.searching.guidance import SEEDS, tried
from workers.lab.searching.run import SearchRun


def expectation(run: SearchRun) -> float:
    """The whole run."""
    request = run.request
    teachers = (request.seeds + request.validation + request.held_out) * request.teacher_steps * run.branches
    budgets = sum(budget_cost(run, steps) + evidence_cost(run, steps) for steps in request.budgets)
    return teachers + paths_cost(run) + budgets + range_cost(run, request.budgets)


def paths_cost(run: SearchRun) -> float:
    """What comes before the first budget.

    The path search takes every node in every round, for each candidate; learned coefficients do without, and measure
    once how errors grow, where they go on from nothing.
    """
    request = run.request
    if request.learned:
        begun = request.start is not None or request.placement
        return 0.0 if begun else float(sensitivity_cost(min(run.learning.fit_seeds, request.seeds)) * run.branches)
    candidates = 2 if request.cost == "x0" else 1
    rounds = min(request.path_budget, request.budgets[-1])
    return candidates * request.grid * rounds * request.path_seeds * run.branches


def budget_cost(run: SearchRun, steps: int) -> float:
    """One budget: rollouts of starts and baselines on a few seeds, the refinement, its validation."""
    if run.request.placement:
        return _placed_cost(run, steps)
    if run.request.learned:
        return _learned_cost(run, steps)
    request = run.request
    screened = (len(request.baselines) + 2) * request.screen
    refined = max(request.refine, steps) if request.is_anchor(steps) else steps
    return (steps * (screened + 2 * request.seeds + request.validation) + refined * request.seeds) * run.branches


def _learned_cost(run: SearchRun, steps: int) -> float:
    """The method's own outlay, and the baselines on a few seeds."""
    request, options = run.request, run.learning
    seeds, validation = request.seeds, request.validation
    if request.start is not None:
        tables = 2 if options.grows(steps) else 1  # its own, and what was found for a step less
        outlay = Outlay.going_on(options, steps, seeds=seeds, validation=validation, tables=tables)
    else:
        outlay = Outlay.among(options, steps, request.budgets, seeds=seeds, validation=validation)
    screened = steps * (len(request.baselines) * request.screen + request.validation)
    return float(screened + outlay.evaluations) * run.branches


def range_cost(run: SearchRun, budgets: Iterable[int]) -> float:
    """Both ends of the guidance range, tried twice at the most: a teacher and a few budgets with their baselines."""
    request = run.request
    if request.guidance_range is None:
        return 0.0
    seeds = min(SEEDS, request.held_out)
    measured = sum(tried(budgets)) * (1 + len(request.baselines))
    ends = sum(end != request.guidance_scale for end in request.guidance_range)
    return 4.0 * ends * seeds * (request.teacher_steps + measured)  # two tries, two forwards a guided row


def _placed_cost(run: SearchRun, evaluations: int) -> float:
    """Patterns on a few seeds, derivatives, and the steps that validation tries; all in forwards."""
    placing = run.placing
    smaller = None if placing.smaller is None else Smaller(placing.smaller, run.model.smaller[placing.smaller].cost)
    begun = starting_patterns(evaluations, smaller)
    patterns = len(begun) + placing.moves + placing.starts * (len(placing.shifts) - 1)
    screened = evaluations * patterns * (placing.fit_seeds + placing.screen)
    tried = (len(placing.newton.dampings) + 1) * (placing.starts + len(placing.measured))
    dearest = max(each.derivatives for each in (*begun, Pattern(evaluations, ())))
    derivatives = dearest * sum(placing.measured) * placing.starts
    finish = evaluations * placing.newton.finish(run.request.seeds, run.request.validation)
    return float(screened + min(placing.spend, derivatives) + evaluations * run.request.validation * tried + finish)


def evidence_cost(run: SearchRun, steps: int) -> float:
    """One budget's grid and the baselines on the held-out seeds."""
    return steps * (1 + len(run.request.baselines)) * run.request.held_out * run.branches
