"""Floors are planned for the prompt at hand, where its words tell what it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.planner import plan
from pacer.errors import PacerError
from pacer.jobs.messages import Plan
from pacer.models import load
from schedules.artefact import Entry, Evidence, Figure, Kept, Provenance, Schedule, ValidFor
from schedules.compile import SOLVERS
from schedules.prompt_curves import PromptCurves, Regression, Spread
from schedules.registry import Registry

CARD = load("shapes-64")
MADE = Provenance(
    method="test", teacher_steps=50, calibration_seeds=1, calibration_seed_offset=0, prompts_sha256="0" * 64,
    date="2026-01-01", code_version="0",
)  # fmt: skip
STEPS = tuple(range(1, 13))


def entry(steps: int) -> Entry:
    """All prompts together: 20 dB and 2 for each step in the mean, 5 less for 98 of 100 pictures."""
    mean = 20.0 + 2 * steps
    evidence = Evidence(
        psnr_db=Figure(mean=mean, low=mean - 1, high=mean + 1), kept_psnr_db=(Kept(by=0.98, least=mean - 5),),
        latent_mse=Figure(mean=0.1, low=0.1, high=0.1), task_score=0.8, teacher_steps=50, seeds=8, seed_offset=0,
        quality=Figure(mean=0.70 + 0.02 * steps, low=0.69 + 0.02 * steps, high=0.72 + 0.02 * steps),
    )  # fmt: skip
    return Entry(steps=steps, sigmas=tuple(np.linspace(1, 0, steps + 1).tolist()), evidence=evidence)


def curves() -> PromptCurves:
    """Stars have 4 dB less and a tenth less of the quality than circles; 98 of 100 pictures have 4 dB less still."""
    none = (0.0,) * len(STEPS)
    psnr_db = Regression(
        none=tuple(22.0 + 2 * steps for steps in STEPS),
        each=(none, none, (-4.0,) * len(STEPS)),
        explained=none,
        ridge=1.0,
    )
    quality = Regression(
        none=tuple(0.75 + 0.02 * steps for steps in STEPS),
        each=(none, none, (-0.1,) * len(STEPS)),
        explained=none,
        ridge=1.0,
    )
    kept = (Spread(by=0.98, offsets=(-4.0,) * len(STEPS)),)
    return PromptCurves(
        steps=STEPS, words=("a", "circle", "star"), psnr_db=psnr_db, kept_psnr_db=kept, quality=quality, seeds=100,
        seed_offset=0,
    )  # fmt: skip


REGISTRY = Registry.of(
    [
        Schedule(
            format="pacer-schedule/1", revision=None, dtype="float32", quantization=None, prediction="flow",
            model=CARD.id, weights_sha256=CARD.weights_sha256 or "0" * 64, servable=True, solver="ab2", variant=None,
            order=SOLVERS["ab2"], provenance=MADE, entries=tuple(map(entry, STEPS)), prompts=curves(),
            valid_for=ValidFor(width=(64, 64), height=(64, 64), guidance_scale=(1.0, 3.0)),
        )
    ]
)  # fmt: skip


def planned(prompt: str | None, **fields: Any) -> Plan:
    request = BudgetRequest(card=CARD, guidance_scale=1.5, width=64, height=64, prompt=prompt, **fields)
    return plan(request, REGISTRY, None, max_steps=50)[0]


@pytest.mark.parametrize(
    ("prompt", "steps", "by_prompt"),
    [(None, 10, False), ("a horse on the moon", 10, False), ("a circle", 9, True), ("A STAR", 11, True)],
)
def test_a_floor_takes_the_steps_that_the_prompt_needs(prompt: str | None, steps: int, *, by_prompt: bool) -> None:
    made = planned(prompt, min_psnr_db=35.0)
    assert (made.steps, made.by_prompt) == (steps, by_prompt)
    assert dict(made.kept_psnr_db)[0.98] >= 35.0


def test_the_plan_tells_what_is_to_be_expected_of_the_prompt() -> None:
    made = planned("a star", min_psnr_db=35.0)
    assert made.predicted_quality_db == pytest.approx((40.0, 39.0, 41.0))
    assert made.predicted_quality == pytest.approx((0.87, 0.86, 0.89))
    assert made.kept_psnr_db == ((0.98, 36.0),)


@pytest.mark.parametrize(("prompt", "steps"), [(None, 8), ("a circle", 6), ("a star", 11)])
def test_a_floor_of_the_task_score_is_planned_so_too(prompt: str | None, steps: int) -> None:
    assert planned(prompt, min_quality=0.85).steps == steps


def test_a_floor_beyond_the_prompt_is_refused_though_others_reach_it() -> None:
    assert planned("a circle", min_psnr_db=40.0).steps == 11
    with pytest.raises(PacerError, match="40 dB for 98 of 100 pictures was not shown to be reached; the most is 38"):
        planned("a star", min_psnr_db=40.0)


def test_without_a_floor_the_prompt_changes_nothing() -> None:
    for budget in ({"steps": 6}, {"evaluations": 12}, {"max_steps": 7}):
        assert planned("a star", **budget) == planned(None, **budget)
