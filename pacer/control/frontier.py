"""Quality against cost: the schedules of a model that none other beats."""

from __future__ import annotations

from pacer.control.budget_request import BudgetRequest, check_guidance
from pacer.control.held import Offer, offers
from pacer.control.limits import Forecast, Limits
from pacer.control.planner import describe
from pacer.jobs.messages import Plan
from schedules.registry import Registry


def frontier(
    request: BudgetRequest, registry: Registry, forecast: Forecast | None, *, max_steps: int = 100
) -> tuple[Plan, ...]:
    """The entries that hold for a request and of which no cheaper one, nor one as cheap, was measured to be as good.

    Args:
        request: of a model, a guidance scale and a size.
        registry: the schedules at hand.
        forecast: what workers measured; None before they have.
        max_steps: the largest budget allowed.

    Returns:
        Plans with rising evaluations and rising predicted quality; none where nothing was measured.

    Raises:
        PacerError: invalid_request, on the guidance scale.
    """
    check_guidance(request)
    forecast = None if forecast is None else forecast.at(request.pixels)
    free = Limits(steps=(1, max_steps))
    held = [offer for offer in offers(request, registry) if offer.evidence is not None and offer.within(free)]
    front: list[Offer] = []
    for offer in sorted(held, key=lambda offer: (offer.evaluations, -_psnr_db(offer))):
        if not front or _psnr_db(offer) > _psnr_db(front[-1]):
            front.append(offer)
    return tuple(describe(request, offer.choice, offer.evaluations, forecast) for offer in front)


def _psnr_db(offer: Offer) -> float:
    return float("-inf") if offer.evidence is None else offer.evidence.psnr_db.mean
