"""The served models and their schedules. Model ids may contain '/'."""

from __future__ import annotations

from fastapi import APIRouter

from app.gateway import Gateway, GatewayDep
from app.intake import size_of
from app.problems import describe
from app.schemas.answers import (
    FrontierAnswer,
    ModelAnswer,
    ModelList,
    PlanAnswer,
    Quality,
    ScheduleAnswer,
    ScheduleList,
    told_quality,
    told_share,
)
from pacer.control.budget_request import BudgetRequest
from pacer.control.figures import figures_of
from pacer.control.frontier import frontier
from pacer.control.limits import Forecast
from pacer.errors import ErrorKind, PacerError
from pacer.loras import offered
from pacer.models import ModelCard
from pacer.settings import Settings
from schedules.artefact import Entry, Figure, Schedule
from schedules.compile import SAMPLERS
from schedules.grid_names import grid_names
from schedules.table import OWN

router = APIRouter(prefix="/v1/models", tags=["models"])

_GUIDED = 2.0  # any scale but 1 costs the same

_FAILURES = describe(ErrorKind.unauthorized, ErrorKind.model_not_found)


@router.get("", response_model=ModelList, responses=describe(ErrorKind.unauthorized))
async def list_models(gateway: GatewayDep) -> ModelList:
    """All served models, the default first."""
    return ModelList(data=[await _model(card, gateway) for card in gateway.cards.values()])


# Before the route of one model: its path would swallow this one.
@router.get("/{model_id:path}/schedules", response_model=ScheduleList, responses=_FAILURES)
async def list_schedules(model_id: str, gateway: GatewayDep) -> ScheduleList:
    """The registry's schedules of a model, every budget of every solver."""
    card = gateway.card(model_id)
    entries = [
        _entry(schedule, entry) for schedule in gateway.registry.schedules(card.id) for entry in schedule.entries
    ]
    return ScheduleList(model=card.id, data=entries)


@router.get(
    "/{model_id:path}/frontier",
    response_model=FrontierAnswer,
    responses={**_FAILURES, **describe(ErrorKind.invalid_request)},
)
async def show_frontier(
    model_id: str, gateway: GatewayDep, guidance_scale: float | None = None, size: str | None = None
) -> FrontierAnswer:
    """Quality against cost, at the model's own size unless one is named: what each further evaluation buys."""
    card = gateway.card(model_id)
    scale = card.guidance_scale if guidance_scale is None else guidance_scale
    width, height = size_of(size, card)
    asked = BudgetRequest(card=card, guidance_scale=scale, width=width, height=height)
    forecast = await _forecast(card.id, gateway)
    plans = frontier(asked, gateway.registry, forecast, max_steps=gateway.settings.max_steps)
    return FrontierAnswer(model=card.id, guidance_scale=scale, data=[PlanAnswer.of(plan) for plan in plans])


@router.get("/{model_id:path}", response_model=ModelAnswer, responses=_FAILURES)
async def one_model(model_id: str, gateway: GatewayDep) -> ModelAnswer:
    """One served model."""
    return await _model(gateway.card(model_id), gateway)


async def _model(card: ModelCard, gateway: Gateway) -> ModelAnswer:
    return ModelAnswer(
        id=card.id,
        width=list(card.width),
        height=list(card.height),
        guidance_scale=card.guidance_scale,
        embedded_guidance=card.embedded_guidance,
        guidance_range=list(card.guidance_range),
        sigma_range=[card.sigma_min, card.sigma_max],
        prediction=card.prediction,
        max_words=card.max_words,
        max_steps=gateway.settings.max_steps,
        default_steps=card.default_steps(gateway.settings.default_steps),
        distilled=card.distilled is not None,
        solvers=list(SAMPLERS),
        grids=list(dict.fromkeys((*grid_names(card.noise_schedule), card.grid))),
        loras=_loras(card, gateway.settings),
        live_workers=await _live_workers(card.id, gateway),
    )


def _loras(card: ModelCard, settings: Settings) -> list[str]:
    taken = card.loras and not settings.batch_invariant
    return list(offered(settings.lora_dir, card.id)) if taken else []


async def _forecast(model: str, gateway: Gateway) -> Forecast | None:
    """Nor does anything but the seconds hang on the store here."""
    try:
        load = await gateway.store.load(model)
    except PacerError:
        return None
    return None if load is None else Forecast.of(load, None)


async def _live_workers(model: str, gateway: Gateway) -> int | None:
    """A model can be described while the store is away; only this number is then unknown."""
    try:
        return await gateway.store.live_workers(model)
    except PacerError:
        return None


def _entry(schedule: Schedule, entry: Entry) -> ScheduleAnswer:
    evidence, figures = entry.evidence, figures_of(entry.evidence)
    baselines = {} if evidence is None else evidence.baselines_psnr_db
    return ScheduleAnswer(
        id=schedule.entry_id(entry.steps),
        solver=schedule.solver,
        variant=schedule.variant,
        steps=entry.steps,
        evaluations=schedule.network_evaluations(entry, guidance_scale=_GUIDED),
        order=schedule.order,
        servable=schedule.servable,
        method=schedule.provenance.method,
        sigmas=list(entry.sigmas),
        networks=[] if entry.table is None else sorted({*entry.table.networks} - {OWN}),
        psnr_db=told_quality(figures["predicted_quality_db"], figures["kept_psnr_db"]),
        quality=told_share(figures["predicted_quality"], figures["kept_ssim"]),
        baselines_psnr_db={name: _quality(figure) for name, figure in baselines.items()},
        guidance_range=list(schedule.valid_for.guidance_scale),
        measured_guidance_scale=schedule.measured_scale,
    )


def _quality(figure: Figure) -> Quality:
    return Quality(mean=figure.mean, low=figure.low, high=figure.high)
