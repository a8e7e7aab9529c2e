"""OpenAI's quality levels: steps, or whole budgets that the operator lets them stand for."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from conftest import Generate, serving

from app.main import create_app
from pacer.settings import Settings

ROUTE = "/v1/images/generations"


@pytest.mark.parametrize(("quality", "steps"), [("low", 4), ("medium", 8), ("high", 16), ("auto", 10)])
def test_quality_names_a_step_budget(generate: Generate, quality: str, steps: int) -> None:
    answer = generate(quality=quality)
    assert (answer["quality"], answer["pacer"]["steps"]) == (quality, steps)


@pytest.mark.parametrize(
    ("quality", "level"), [("standard", "medium"), ("hd", "high"), ("xhigh", "high"), ("max", "high")]
)
def test_openai_further_qualities_come_to_one_of_the_three(generate: Generate, quality: str, level: str) -> None:
    answer, plain = generate(quality=quality), generate(quality=level)
    assert (answer["quality"], answer["pacer"]["steps"]) == (level, plain["pacer"]["steps"])


def test_a_quality_may_stand_for_a_whole_budget(settings: Settings, worker: object) -> None:
    """A floor, a range: what the request says itself comes on top, and must agree."""
    tiers = {"low": {"max_steps": 5, "min_steps": 2}, "high": {"min_psnr_db": 92.5}}
    with serving(settings.model_copy(update={"quality_budgets": tiers})) as url, httpx2.Client(base_url=url) as client:

        def answer(**fields: Any) -> httpx2.Response:
            return client.post(ROUTE, json={"prompt": "a red circle", "seed": 1, **fields})

        for fields, steps in (
            ({"quality": "high"}, 6),
            ({"quality": "low"}, 4),
            ({"quality": "low", "budget": {"max_steps": 5, "evaluations": 5}}, 2),
            ({"quality": "medium"}, 8),
        ):
            drawn = answer(**fields).json()
            assert (drawn["quality"], drawn["pacer"]["steps"]) == (fields["quality"], steps)
        refused = answer(quality="low", budget={"max_steps": 6})
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, "budget.max_steps")
        assert "'low' quality says 5, the budget 6; give one of them" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"high": {"min_psnr": 40}}, "high.min_psnr: Extra"),
        ({"low": {"steps": 0}}, "low: budget.steps"),
        ({"low": {"min_steps": 9, "max_steps": 4}}, "low: budget.min_steps"),
        ({"low": {}}, "low.steps: is required"),
    ],
)
def test_a_quality_that_stands_for_no_budget_ends_the_start(
    settings: Settings, said: dict[str, dict[str, int]], told: str
) -> None:
    with pytest.raises(ValueError, match=f"PACER_QUALITY_BUDGETS: {told}"):
        create_app(settings.model_copy(update={"quality_budgets": said}))
