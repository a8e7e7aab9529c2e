"""POST /v1/plan: the quote without the run."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter

from app.auth import OwnerDep
from app.binding import bind
from app.body import StrictRoute
from app.gateway import GatewayDep
from app.intake import budget_request, count_of, quote
from app.pictures import MASKED_STRENGTH
from app.problems import describe
from app.schemas.answers import BoundQuoteAnswer, PlanAnswer, QuoteAnswer
from app.schemas.requests import PlanRequest
from app.words import check_words
from pacer.control.budget_request import PictureEntry
from pacer.errors import ErrorKind

router = APIRouter(prefix="/v1/plan", tags=["plan"], route_class=StrictRoute)


@router.post(
    "",
    response_model=BoundQuoteAnswer | QuoteAnswer,
    responses=describe(
        ErrorKind.malformed_body,
        ErrorKind.unauthorized,
        ErrorKind.model_not_found,
        ErrorKind.schedule_not_found,
        ErrorKind.schedule_mismatch,
        ErrorKind.body_too_large,
        ErrorKind.invalid_request,
        ErrorKind.deadline_unreachable,
        ErrorKind.store_unavailable,
    ),
)
async def make_plan(body: PlanRequest, gateway: GatewayDep, owner: OwnerDep) -> BoundQuoteAnswer | QuoteAnswer:
    """What would be run for a budget, how long it should take and how good it should be."""
    request = replace(budget_request(body, gateway), images=count_of(body.n, gateway), prompt=body.prompt)
    check_words(body.prompt or "", "prompt", request.card, gateway.settings.max_prompt_chars)
    if body.strength is not None or body.masked:
        request = replace(request, picture=_entry(body))
    planned, table, _ = await quote(request, gateway, owner)
    answer = QuoteAnswer(**PlanAnswer.of(planned).model_dump(), ignored=body.ignored())
    if body.bind_seconds is None:
        return answer
    plan_id, ends_s = await bind(request, planned, table, seconds=body.bind_seconds, gateway=gateway, owner=owner)
    return BoundQuoteAnswer(**answer.model_dump(), plan_id=plan_id, expires_at=ends_s)


def _entry(body: PlanRequest) -> PictureEntry:
    """Where the picture would enter; own sigmas say so themselves."""
    masked = bool(body.masked)
    default = MASKED_STRENGTH if masked and body.sigmas is None else None
    return PictureEntry(default if body.strength is None else body.strength, masked)
