"""What a caller asks for, as far as planning goes, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from pacer.errors import ErrorKind, PacerError
from pacer.models import ModelCard
from schedules.compile import SOLVERS


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRequest:
    """What a caller asks for, as far as planning goes.

    Attributes:
        card: the model's card.
        guidance_scale: in the card's guidance_range; 1 means unguided.
        width: pixels.
        height: pixels.
        steps: the step budget; None leaves it to evaluations, sigmas, schedule or the default.
        evaluations: the most network evaluations for one image, a guided step counting two; None sets no bound.
        schedule: a registry id 'model/solver/steps' or 'model/solver@variant/steps', or the name of a grid; None takes
            the best there is.
        solver: a solver's name, any variant; None takes the schedule's own, or the model's.
        sigmas: the caller's own noise levels, steps + 1 of them.
        allow_interpolated: take a searched schedule for a guidance scale, a size or a budget that it was not shown to
            hold for; nothing is then known of its quality.
        allow_other_model: run the schedule named by its id even where it was optimised on another model, or on other
            weights of this one; nothing is then known of its quality.
    """

    card: ModelCard
    guidance_scale: float
    width: int
    height: int
    steps: int | None = None
    evaluations: int | None = None
    schedule: str | None = None
    solver: str | None = None
    sigmas: tuple[float, ...] | None = None
    allow_other_model: bool = False
    allow_interpolated: bool = False

    @property
    def branch_scale(self) -> float:
        """The scale between a step's two evaluations; 1, one evaluation, where the network takes it as an input."""
        return 1.0 if self.card.embedded_guidance else self.guidance_scale


def grid_solver(request: BudgetRequest) -> str:
    """The solver of noise levels that come without one.

    Raises:
        PacerError: invalid_request, where it has no formula.
    """
    solver = request.solver or request.card.solver
    if solver not in SOLVERS:
        raise invalid("solver", f"no solver {solver[:80]!r}; choose one of {', '.join(SOLVERS)}")
    return solver


def check_guidance(scale: float, card: ModelCard) -> None:
    """Refuse a guidance scale that the model does not take.

    Raises:
        PacerError: invalid_request.
    """
    least, most = card.guidance_range
    if not least <= scale <= most:
        raise invalid("guidance_scale", f"must lie in {least:g} to {most:g} for {card.id}, is {scale:g}")


def check_steps(steps: int | None, max_steps: int, *, field: str) -> None:
    """Refuse a number of steps beyond what is allowed here; None names none.

    Raises:
        PacerError: invalid_request, blaming the field.
    """
    if steps is not None and not 1 <= steps <= max_steps:
        raise invalid(field, f"steps must lie in 1 to {max_steps}, is {steps}")


def invalid(field: str, detail: str) -> PacerError:
    """The error that blames a field."""
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)


def mismatch(detail: str) -> PacerError:
    """The error of a schedule that is not for this request."""
    return PacerError(ErrorKind.schedule_mismatch, detail, field="schedule")
