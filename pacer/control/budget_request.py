"""What a caller asks for, as far as planning goes, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Lora
from pacer.models import ModelCard
from schedules.compile import SAMPLERS
from schedules.evidence import SHARES


@dataclass(frozen=True, slots=True)
class PictureEntry:
    """A picture that the drawing starts from.

    Attributes:
        strength: in (0, 1], how much of it is noise at the start; None where the request's sigmas say so.
        masked: whether a part of it is kept.
    """

    strength: float | None
    masked: bool = False

    @property
    def is_unseen(self) -> bool:
        """Whether nothing of the picture is left at the start, and none of it is kept: it is text to image then."""
        return self.strength == 1 and not self.masked


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRequest:
    """What a caller asks for, as far as planning goes.

    Attributes:
        card: the model's card.
        guidance_scale: in the card's guidance_range; 1 means unguided.
        true_cfg_scale: of classifier-free guidance on top of a scale that the network takes as an input; 1 means none.
        width: pixels.
        height: pixels.
        images: how many, each with this budget.
        steps: the step budget; None leaves it to evaluations, sigmas, schedule or the default.
        evaluations: the most network evaluations for one image, a guided step counting two; None sets no bound.
        latency_s: the most seconds from arrival to the image; None sets no bound.
        min_steps: the fewest steps; None sets no bound.
        max_steps: the most steps; None leaves that to the service.
        min_psnr_db: the least PSNR to the teacher, decibels, that a schedule was shown to reach; None sets no floor.
        min_quality: the least share of the teacher's quality, 0 to 1, that one was shown to reach; None sets no floor.
        kept_by: share of the pictures by which a floor is kept; None is 0.98.
        prompt: what will be drawn, whose words may tell what a floor needs; None where nobody said it yet.
        schedule: a registry id 'model/solver/steps' or 'model/solver@variant/steps', or the name of a grid; None takes
            the best there is.
        solver: a solver's name, any variant; None takes the schedule's own, or the model's.
        sigmas: the caller's own noise levels, steps + 1 of them.
        allow_interpolated: take a searched schedule for a guidance scale or a size that it was not shown to hold for,
            or one made from those of budgets far away; nothing is then known of its quality.
        allow_other_model: run the schedule named by its id even where it was optimised on another model, or on other
            weights of this one; nothing is then known of its quality.
        picture: what the drawing starts from; None is noise alone.
        lora: what the model is drawn with, in the order of their names; nothing is then known of any schedule's
            quality.
    """

    card: ModelCard
    guidance_scale: float
    width: int
    height: int
    true_cfg_scale: float = 1.0
    images: int = 1
    steps: int | None = None
    evaluations: int | None = None
    latency_s: float | None = None
    min_steps: int | None = None
    max_steps: int | None = None
    min_psnr_db: float | None = None
    min_quality: float | None = None
    kept_by: float | None = None
    prompt: str | None = None
    schedule: str | None = None
    solver: str | None = None
    sigmas: tuple[float, ...] | None = None
    allow_other_model: bool = False
    allow_interpolated: bool = False
    picture: PictureEntry | None = None
    lora: tuple[Lora, ...] = ()

    @property
    def branch_scale(self) -> float:
        """The scale between a step's two evaluations; at 1 there is one."""
        return self.true_cfg_scale if self.card.embedded_guidance else self.guidance_scale

    @property
    def branch_field(self) -> str:
        """The field that says that scale."""
        return "true_cfg_scale" if self.card.embedded_guidance else "guidance_scale"

    @property
    def pixels(self) -> int:
        """Of one image, width x height."""
        return self.width * self.height

    @property
    def relative_pixels(self) -> float:
        """The same beside the model's default size."""
        width, height = self.card.default_size
        return self.pixels / (width * height)

    @property
    def leaves_steps_open(self) -> bool:
        """Whether other bounds than a number of steps say what may be spent."""
        if self.steps is not None:
            return False
        open_ends = self.min_steps is not None or self.max_steps is not None
        spent = self.evaluations is not None or self.latency_s is not None
        return spent or open_ends or self.floored

    @property
    def floored(self) -> bool:
        """Whether it sets a least quality."""
        return self.min_psnr_db is not None or self.min_quality is not None


def grid_solver(request: BudgetRequest) -> str:
    """The solver of noise levels that come without one.

    Raises:
        PacerError: invalid_request, where it has no formula.
    """
    solver = request.solver or request.card.solver
    if solver not in SAMPLERS:
        raise invalid("solver", f"no solver {solver[:80]!r}; choose one of {', '.join(SAMPLERS)}")
    return solver


def check_guidance(request: BudgetRequest) -> None:
    """Refuse a guidance scale that the model does not take.

    Raises:
        PacerError: invalid_request.
    """
    card, (least, most) = request.card, request.card.guidance_range
    if not least <= request.guidance_scale <= most:
        raise invalid(
            "guidance_scale", f"must lie in {least:g} to {most:g} for {card.id}, is {request.guidance_scale:g}"
        )
    if request.true_cfg_scale != 1 and not card.embedded_guidance:
        raise invalid("true_cfg_scale", f"{card.id} has one scale of guidance; give it as guidance_scale")
    if not 1 <= request.true_cfg_scale <= most:
        raise invalid("true_cfg_scale", f"must lie in 1 to {most:g} for {card.id}, is {request.true_cfg_scale:g}")


def check_steps(steps: int | None, max_steps: int, *, field: str) -> None:
    """Refuse a number of steps beyond what is allowed here; None names none.

    Raises:
        PacerError: invalid_request, blaming the field.
    """
    if steps is not None and not 1 <= steps <= max_steps:
        raise invalid(field, f"steps must lie in 1 to {max_steps}, is {steps}")


def check_bounds(request: BudgetRequest, max_steps: int) -> None:
    """Refuse bounds that nothing can be within, and those that contradict each other.

    Raises:
        PacerError: invalid_request, naming the numbers.
    """
    check_steps(request.steps, max_steps, field="steps")
    check_steps(request.min_steps, max_steps, field="budget.min_steps")
    check_steps(request.max_steps, max_steps, field="budget.max_steps")
    if request.steps is not None and (request.min_steps is not None or request.max_steps is not None):
        raise invalid("budget.steps", "steps says it exactly, min_steps and max_steps leave it open; give one of them")
    if request.min_steps is not None and request.max_steps is not None and request.min_steps > request.max_steps:
        raise invalid("budget.min_steps", f"{request.min_steps} is more than budget.max_steps, {request.max_steps}")
    if request.evaluations is not None and request.evaluations < 1:
        raise invalid("budget.evaluations", f"must be at least 1, is {request.evaluations}")
    if request.latency_s is not None and request.latency_s <= 0:
        raise invalid("budget.latency_ms", f"must be above 0, is {request.latency_s * 1000:g}")
    if request.min_quality is not None and not 0 < request.min_quality <= 1:
        raise invalid("budget.min_quality", f"must be above 0 and at most 1, is {request.min_quality:g}")
    if request.min_psnr_db is not None and not request.min_psnr_db > 0:
        raise invalid("budget.min_psnr_db", f"must be above 0, is {request.min_psnr_db:g}")
    _check_floors(request)


def _check_floors(request: BudgetRequest) -> None:
    """Refuse floors where a LoRA makes another model of the one that was measured, and shares that keep none."""
    if request.kept_by is not None:
        if not request.floored:
            raise invalid(
                "budget.kept_by", "says by how many pictures a floor is kept; give min_psnr_db or min_quality"
            )
        if not SHARES[0] <= request.kept_by <= SHARES[-1]:
            raise invalid("budget.kept_by", f"must lie in {SHARES[0]:g} to {SHARES[-1]:g}, is {request.kept_by:g}")
    if request.lora and request.floored:
        field = "budget.min_quality" if request.min_psnr_db is None else "budget.min_psnr_db"
        raise invalid(field, "quality was measured without LoRAs, so none is known with one; leave out one of the two")


def invalid(field: str, detail: str) -> PacerError:
    """The error that blames a field."""
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)


def mismatch(detail: str) -> PacerError:
    """The error of a schedule that is not for this request."""
    return PacerError(ErrorKind.schedule_mismatch, detail, field="schedule")
