"""OpenAI's quality levels as budgets: steps, or whatever else the operator says they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from app.schemas.budget import Budget
from pacer.control.budget_request import BudgetRequest, check_bounds, check_steps, invalid
from pacer.errors import PacerError
from pacer.models import ModelCard
from pacer.settings import QualityLevel, Settings


def tiers_of(settings: Settings, cards: Iterable[ModelCard]) -> Mapping[QualityLevel, Budget]:
    """The budget of each level.

    Args:
        settings: what the operator said.
        cards: of the models that are served.

    Raises:
        ValueError: PACER_QUALITY_BUDGETS has one that is none; names the level and the field.
    """
    steps = {level: Budget(steps=value) for level, value in settings.quality_steps.items()}
    said = {level: _read(level, budget) for level, budget in settings.quality_budgets.items()}
    for level, budget in said.items():
        for card in cards:
            _check(level, budget, card, settings.max_steps)
    return steps | said


def _read(level: str, said: Mapping[str, object]) -> Budget:
    try:
        return Budget.model_validate(said)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, (level, *problem["loc"])))
        raise ValueError(f"PACER_QUALITY_BUDGETS: {place}: {problem['msg']}, is {problem['input']!r}") from error


def _check(level: str, budget: Budget, card: ModelCard, max_steps: int) -> None:
    """Find at the start what every request of this level would be refused for."""
    width, height = card.default_size
    request = BudgetRequest(
        card=card, guidance_scale=card.guidance_scale, width=width, height=height, steps=budget.steps, **budget.bounds()
    )
    try:
        if budget.steps is not None:
            check_steps(budget.steps, max_steps, field="budget.steps")
        check_bounds(request, max_steps)
    except PacerError as error:
        raise ValueError(f"PACER_QUALITY_BUDGETS: {level}: {error.detail}") from error


def with_tier(budget: Budget | None, level: QualityLevel, tier: Budget) -> Budget:
    """What a request says itself together with what its level stands for.

    Args:
        budget: the request's own.
        level: its quality.
        tier: of that level.

    Raises:
        PacerError: invalid_request, where both say one thing differently.
    """
    stands_for = tier.model_dump(exclude_unset=True)
    said = {} if budget is None else budget.model_dump(exclude_unset=True)
    for name in stands_for.keys() & said.keys():
        if said[name] != stands_for[name]:
            detail = f"{level!r} quality says {stands_for[name]:g}, the budget {said[name]:g}; give one of them"
            raise invalid(f"budget.{name}", detail)
    return Budget.model_validate(stands_for | said)
