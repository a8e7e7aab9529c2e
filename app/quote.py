"""`pacer plan`: a plan from the registry alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from app.schemas.answers import PlanAnswer
from pacer.control.budget_request import BudgetRequest
from pacer.control.planner import plan
from pacer.models import choose, find, served
from pacer.settings import Settings
from schedules.registry import Registry


@dataclass(frozen=True, slots=True)
class Bounds:
    """A budget; what is None sets no bound."""

    steps: int | None = None
    evaluations: int | None = None
    min_quality: float | None = None
    min_psnr_db: float | None = None
    kept_by: float | None = None
    min_steps: int | None = None
    max_steps: int | None = None


def quote_locally(
    settings: Settings,
    bounds: Bounds,
    *,
    model: str | None,
    guidance_scale: float | None,
    schedule: str | None,
    solver: str | None,
    sigmas: tuple[float, ...] | None,
    allow_other_model: bool = False,
    allow_interpolated: bool = False,
) -> PlanAnswer:
    """The plan of a budget without a store; seconds stay unknown.

    Raises:
        PacerError: the request is wrong, as the gateway would say it.
    """
    card = choose(None, served(settings)) if model is None else find(model, settings)
    width, height = card.default_size
    request = BudgetRequest(
        card=card,
        guidance_scale=card.guidance_scale if guidance_scale is None else guidance_scale,
        width=width,
        height=height,
        **asdict(bounds),
        schedule=schedule,
        solver=solver,
        sigmas=sigmas,
        allow_other_model=allow_other_model,
        allow_interpolated=allow_interpolated,
    )
    planned, _ = plan(
        request,
        Registry.load(settings.registry_dir),
        None,
        default_steps=settings.default_steps,
        max_steps=settings.max_steps,
    )
    return PlanAnswer.of(planned)


def read_sigmas(text: str) -> tuple[float, ...]:
    """Noise levels as the command line has them.

    Raises:
        ValueError: the text is no list of numbers.
    """
    return tuple(_number(part) for part in text.split(","))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"--sigmas: must be numbers with commas between them, as in 1,0.5,0; not {text[:80]!r}"
        ) from None


def describe_plan(planned: PlanAnswer) -> str:
    """The plan for a person to read."""
    quality = planned.predicted_quality_db
    expected = "unknown" if quality is None else f"{quality.mean:.1f} dB ({quality.low:.1f} to {quality.high:.1f})"
    if quality is not None:
        expected += "".join(
            f", {100 * kept.by:.0f} of 100 pictures {kept.least:.1f} or more" for kept in quality.kept[2:]
        )
    expected += " for this prompt" if planned.by_prompt else ""
    sigmas = " ".join(f"{sigma:.4f}" for sigma in planned.sigmas)
    foreign = " (optimised on another model)" if planned.other_model else ""
    foreign += " (not shown to hold for this guidance, size or budget)" if planned.interpolated else ""
    return (
        f"model        {planned.model}\nschedule     {planned.schedule}{foreign}\nsolver       {planned.solver}\n"
        f"steps        {planned.steps}\nevaluations  {planned.evaluations}\n"
        f"quality      {expected}\nsigmas       {sigmas}"
    )
