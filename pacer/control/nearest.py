"""Searched schedules beyond what they were shown to hold for: taken where the caller allows it, and marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter

from schedules.artefact import Entry, Schedule
from schedules.compile import SOLVERS
from schedules.interpolate import interpolate


def entry_near(schedule: Schedule, steps: int) -> Entry | None:
    """The entry of a budget, or one made from its neighbours': without evidence, as nobody measured it.

    Args:
        schedule: the artefact.
        steps: the budget, >= 1.

    Returns:
        None where coefficients were searched for other budgets only: those cannot be interpolated.
    """
    found = schedule.entry(steps)
    if found is not None or schedule.solver not in SOLVERS:
        return found
    family = {entry.steps: entry.sigma_array() for entry in schedule.entries}
    return Entry(steps=steps, sigmas=tuple(interpolate(family, steps).tolist()))


def nearest(
    schedules: Iterable[Schedule],
    steps: int,
    *,
    covers: Callable[[Schedule], bool],
    fits: Callable[[Schedule, Entry], bool],
) -> tuple[Schedule, Entry] | None:
    """The schedule that promises most for a budget beyond what was shown, if there is any.

    Those that hold for the request's guidance and size come first, then those that were searched at this budget, then
    the best by what was measured at the nearest budget.

    Args:
        schedules: those that the model may run.
        steps: the budget, >= 1.
        covers: whether a schedule holds for the request's guidance and size.
        fits: whether an entry is within the request's evaluations.
    """

    def rank(found: tuple[Schedule, Entry]) -> tuple[bool, bool, float]:
        schedule, _ = found
        measured = ((abs(entry.steps - steps), entry.evidence) for entry in schedule.entries)
        known = min(((far, evidence) for far, evidence in measured if evidence), key=itemgetter(0), default=None)
        promised = float("-inf") if known is None else known[1].psnr_db.mean
        return covers(schedule), schedule.entry(steps) is not None, promised

    made = ((schedule, entry_near(schedule, steps)) for schedule in schedules if schedule.servable)
    fitting = ((schedule, entry) for schedule, entry in made if entry is not None and fits(schedule, entry))
    return max(fitting, key=rank, default=None)
