"""A budget in network evaluations: how many steps it buys, and what it cannot buy."""

from __future__ import annotations

from functools import lru_cache

from pacer.errors import ErrorKind, PacerError
from schedules.compile import compile_table
from schedules.grids import uniform

FIELD = "budget.evaluations"


def most_steps(solver: str, evaluations: int, guidance_scale: float) -> int:
    """The most steps of a solver, guided on every row, that a number of network evaluations buys; 0 if not one.

    Args:
        solver: with a compiler.
        evaluations: forwards of the network for one image, >= 1.
        guidance_scale: 1 means unguided; otherwise each row takes two forwards.
    """
    first, each = _rows(solver)
    return max(0, (evaluations // _forwards(guidance_scale) - first) // each + 1)


def too_few(solver: str, evaluations: int, guidance_scale: float) -> PacerError:
    """The error where neither a schedule that holds nor one step of a grid is to be had."""
    least = _forwards(guidance_scale) * _rows(solver)[0]
    way = "" if guidance_scale == 1.0 else ", or set guidance_scale to 1"
    return refused(
        f"{evaluations} buys no step: one of solver {solver!r} takes {least} at guidance_scale {guidance_scale:g}, and "
        f"no schedule that holds for this request takes fewer; allow {least} or more{way}"
    )


def check_spent(spent: int, evaluations: int | None, *, what: str, guidance_scale: float) -> None:
    """Refuse a plan that takes more network evaluations than the budget says; None is no budget.

    Raises:
        PacerError: invalid_request, naming both numbers.
    """
    if evaluations is not None and spent > evaluations:
        raise refused(f"{what} take {spent} at guidance_scale {guidance_scale:g}, the budget says {evaluations}")


def check_evaluations(evaluations: int | None) -> None:
    """Refuse a budget of no evaluations.

    Raises:
        PacerError: invalid_request.
    """
    if evaluations is not None and evaluations < 1:
        raise refused(f"must be at least 1, is {evaluations}")


def refused(detail: str) -> PacerError:
    """The error that blames this budget."""
    return PacerError(ErrorKind.invalid_request, f"{FIELD}: {detail}", field=FIELD)


def _forwards(guidance_scale: float) -> int:
    return 1 if guidance_scale == 1.0 else 2


@lru_cache
def _rows(solver: str) -> tuple[int, int]:
    """Rows of a solver's table for the first step, and for each further one: Heun's method has 1 and 2."""
    one, two = (compile_table(solver, uniform(steps), "flow").evaluations_count for steps in (1, 2))
    return one, two - one
