"""Drawing from a picture: the plan begins at the picture's noise level, and spends the whole budget below it."""

from __future__ import annotations

import numpy as np

from pacer.control.budget_request import BudgetRequest, PictureEntry, check_steps, grid_solver, invalid, mismatch
from pacer.control.by_limits import longest_grid
from pacer.control.choice import CUSTOM, Choice
from pacer.control.limits import Limits
from pacer.control.own_sigmas import check_sigmas
from pacer.errors import ErrorKind, PacerError
from schedules.compile import compile_from_image, compile_table
from schedules.entry import enter, entry_sigma
from schedules.grid_names import find_grid, grid_names
from schedules.table import FloatArray


def check_strength(entry: PictureEntry) -> None:
    """Refuse a strength that is none.

    Raises:
        PacerError: invalid_request.
    """
    if entry.strength is not None and not 0 < entry.strength <= 1:
        raise invalid("strength", f"must be above 0 and at most 1, is {entry.strength:g}")


def from_picture(
    request: BudgetRequest, entry: PictureEntry, limits: Limits, default_steps: int, max_steps: int
) -> Choice:
    """A formula solver on the part of a grid that lies below the picture's noise level.

    Searched schedules begin at pure noise and hold for nothing else, so none is taken, and no quality is predicted.

    Raises:
        PacerError: invalid_request, schedule_not_found or schedule_mismatch; deadline_unreachable where only the wait
            is in the way.
    """
    if request.sigmas is not None:
        return _from_sigmas(request, entry, request.sigmas, max_steps)
    name, noise = request.schedule or request.card.grid, request.card.noise_schedule
    if "/" in name:
        raise mismatch(f"schedule {name[:120]!r} begins at pure noise, not at a picture; name a grid or leave it out")
    if find_grid(name, noise) is None:
        allowed = f"with a picture give one of the grids {', '.join(grid_names(noise))}"
        raise PacerError(ErrorKind.schedule_not_found, f"no grid {name[:120]!r}; {allowed}", field="schedule")
    solver = grid_solver(request)
    steps = _steps(request, limits, default_steps, max_steps)
    start = entry_sigma(1.0 if entry.strength is None else entry.strength, noise)
    return _compiled(request, entry, name, enter(name, steps, start, noise), solver, field="schedule")


def _from_sigmas(request: BudgetRequest, entry: PictureEntry, sigmas: tuple[float, ...], max_steps: int) -> Choice:
    """The caller's own noise levels, of which the first is where the picture enters."""
    if request.schedule is not None:
        raise invalid("sigmas", "sigmas and schedule are two answers to one question; give one of them")
    if entry.strength is not None:
        raise invalid("strength", "sigmas say where the picture enters, with their first; give one of the two")
    check_sigmas(sigmas, request.card, max_steps)
    if request.steps is not None and request.steps != len(sigmas) - 1:
        raise invalid("sigmas", f"{request.steps} steps need {request.steps + 1} sigmas, there are {len(sigmas)}")
    return _compiled(request, entry, CUSTOM, np.array(sigmas), grid_solver(request), field="sigmas")


def _steps(request: BudgetRequest, limits: Limits, default_steps: int, max_steps: int) -> int:
    if request.steps is not None:
        return request.steps
    if request.leaves_steps_open:
        return longest_grid(request, limits)
    steps = request.card.default_steps(default_steps)
    check_steps(steps, max_steps, field="steps")
    return steps


def _compiled(
    request: BudgetRequest, entry: PictureEntry, name: str, sigmas: FloatArray, solver: str, *, field: str
) -> Choice:
    card = request.card
    from_noise = bool(sigmas[0] >= card.noise_schedule.sigma_max)
    try:
        # Sigmas that almost touch overflow in the higher orders; the table then says so.
        with np.errstate(all="ignore"):
            if from_noise and not entry.masked:
                table = compile_table(solver, sigmas, card.prediction, card.noise_schedule)
            else:
                table = compile_from_image(
                    solver, sigmas, card.prediction, card.noise_schedule, masked=entry.masked, from_noise=from_noise
                )
    except ValueError as error:
        raise invalid(field, f"solver {solver!r} cannot run these sigmas: {error}") from error
    return Choice(name, solver, tuple(sigmas.tolist()), table)
