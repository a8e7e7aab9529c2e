"""Quality against cost: the schedules of a model that none other beats."""

from __future__ import annotations

from pacer.control.budget_request import BudgetRequest, check_guidance
from pacer.control.choice import from_entry
from pacer.control.held import cost_of, suits
from pacer.control.limits import Forecast, Limits
from pacer.control.planner import describe
from pacer.jobs.messages import Plan
from schedules.registry import Candidate, Registry


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
    check_guidance(request.guidance_scale, request.card)
    ranked = registry.ranked(
        request.card.id, guidance_scale=request.guidance_scale, embedded=request.card.embedded_guidance
    )
    free = Limits(steps=(1, max_steps))
    held = [each for each in ranked if each[1].evidence is not None and suits(request, free, *each)]
    front: list[Candidate] = []
    for each in sorted(held, key=lambda each: (_evaluations(request, each), -_psnr_db(each))):
        if not front or _psnr_db(each) > _psnr_db(front[-1]):
            front.append(each)
    return tuple(describe(request, from_entry(*each), forecast) for each in front)


def _evaluations(request: BudgetRequest, candidate: Candidate) -> int:
    schedule, entry = candidate
    return cost_of(schedule, entry, request.branch_scale)[1]


def _psnr_db(candidate: Candidate) -> float:
    evidence = candidate[1].evidence
    return float("-inf") if evidence is None else evidence.psnr_db.mean
