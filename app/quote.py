"""`pacer plan` and `pacer frontier`: plans from the registry alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from app.schemas.answers import FrontierAnswer, PlanAnswer
from app.stages import Stages, read_stages
from app.words import check_words
from pacer.control.budget_request import BudgetRequest, invalid
from pacer.control.frontier import frontier
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.models import ModelCard, choose, find, served
from pacer.settings import Settings
from schedules.registry import Registry


@dataclass(frozen=True, slots=True)
class Bounds:
    """A budget; what is None sets no bound."""

    steps: int | None = None
    evaluations: int | None = None
    latency_s: float | None = None
    min_quality: float | None = None
    min_psnr_db: float | None = None
    kept_by: float | None = None
    min_steps: int | None = None
    max_steps: int | None = None


def quote_locally(
    settings: Settings,
    bounds: Bounds,
    *,
    prompt: str | None = None,
    stages: Stages | None = None,
    model: str | None,
    guidance_scale: float | None,
    schedule: str | None,
    solver: str | None,
    sigmas: tuple[float, ...] | None,
    allow_other_model: bool = False,
    allow_interpolated: bool = False,
) -> PlanAnswer:
    """The plan of a budget, for an image that waits for nobody; without a worker's stages its seconds stay unknown.

    Raises:
        PacerError: the request is wrong, as the gateway would say it.
        ValueError: seconds are bounded and nothing says what a worker takes, or what says it is wrong.
    """
    card = _card(model, settings)
    if prompt is not None:
        check_words(prompt, "prompt", card, settings.max_prompt_chars)
        if not prompt.strip():
            raise invalid("prompt", "must not be empty")
    forecast = _forecast(stages, settings, card)
    if bounds.latency_s is not None and forecast is None:
        raise ValueError("--latency-ms: say what a worker takes, by --speed with a file or by --live")
    request = replace(
        _request(card, guidance_scale),
        **asdict(bounds),
        prompt=prompt,
        schedule=schedule,
        solver=solver,
        sigmas=sigmas,
        allow_other_model=allow_other_model,
        allow_interpolated=allow_interpolated,
    )
    planned, _ = plan(
        request,
        Registry.load(settings.registry_dir),
        forecast,
        default_steps=settings.default_steps,
        max_steps=settings.max_steps,
    )
    return PlanAnswer.of(planned)


def frontier_locally(
    settings: Settings, stages: Stages | None = None, *, model: str | None, guidance_scale: float | None
) -> FrontierAnswer:
    """The schedules of a model that no other beats, cheapest first; of seconds as `quote_locally`.

    Raises:
        PacerError: the model or the guidance scale is wrong, as the gateway would say it.
        ValueError: what says what a worker takes is wrong.
    """
    card = _card(model, settings)
    request, registry = _request(card, guidance_scale), Registry.load(settings.registry_dir)
    plans = frontier(request, registry, _forecast(stages, settings, card), max_steps=settings.max_steps)
    data = [PlanAnswer.of(plan) for plan in plans]
    return FrontierAnswer(model=card.id, guidance_scale=request.guidance_scale, data=data)


def _card(model: str | None, settings: Settings) -> ModelCard:
    return choose(None, served(settings)) if model is None else find(model, settings)


def _request(card: ModelCard, guidance_scale: float | None) -> BudgetRequest:
    """At the model's own size, and without a bound."""
    scale, (width, height) = card.guidance_scale if guidance_scale is None else guidance_scale, card.default_size
    return BudgetRequest(card=card, guidance_scale=scale, width=width, height=height)


def _forecast(stages: Stages | None, settings: Settings, card: ModelCard) -> Forecast | None:
    """None where nothing was said of stages."""
    return None if stages in (None, Stages()) else Forecast(read_stages(stages, settings, card.id))


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
