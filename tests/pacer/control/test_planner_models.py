"""Models of other weights, noise and steps: which schedules are theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.models import Distilled, ModelCard
from schedules.artefact import BetaSchedule
from schedules.registry import Registry
from tests.pacer.control.asking import CARD, REGISTRY, ask, refused, schedule


def test_schedules_of_other_weights_are_refused_by_name_and_never_chosen() -> None:
    other = CARD.model_copy(update={"weights_sha256": "f" * 64})
    assert plan(ask(card=other, steps=6), REGISTRY, None)[0].schedule == other.grid
    problem = refused(card=other, schedule="shapes-64/euler/6")
    assert problem.kind is ErrorKind.schedule_mismatch
    assert "other weights" in problem.detail
    assert "allow_other_model" in problem.detail


def test_a_distilled_model_draws_in_its_native_steps_as_it_is() -> None:
    distilled = CARD.model_copy(update={"distilled": Distilled(native_steps=4)})
    made, _ = plan(ask(card=distilled), REGISTRY, None, default_steps=6)
    assert (made.schedule, made.solver, made.steps) == (distilled.grid, distilled.solver, 4)
    asked, _ = plan(ask(card=distilled, steps=6), REGISTRY, None)
    assert (asked.schedule, asked.steps) == (distilled.grid, 6), "its steps, not a searched schedule"


def test_a_schedule_of_another_model_runs_where_the_caller_allows_it() -> None:
    made, table = plan(ask(schedule="other/model/euler/6", allow_other_model=True), REGISTRY, None)
    assert (made.model, made.schedule, made.other_model) == ("shapes-64", "other/model/euler/6", True)
    assert (made.steps, made.predicted_quality_db) == (6, None)
    assert table.evaluations_count == 6


def test_a_schedule_of_other_weights_runs_where_the_caller_allows_it() -> None:
    other = CARD.model_copy(update={"weights_sha256": "f" * 64})
    made, _ = plan(ask(card=other, schedule="shapes-64/euler/6", allow_other_model=True), REGISTRY, None)
    assert (made.schedule, made.other_model, made.predicted_quality_db) == ("shapes-64/euler/6", True, None)


def test_leave_to_run_anothers_schedule_changes_nothing_else() -> None:
    own, _ = plan(ask(schedule="shapes-64/euler/6", allow_other_model=True), REGISTRY, None)
    assert (own.other_model, own.predicted_quality_db) == (False, (24.0, 23.0, 26.0))
    best, _ = plan(ask(steps=6, allow_other_model=True), REGISTRY, None)
    assert (best.schedule, best.other_model) == ("shapes-64/ab2/6", False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schedule": "other/model/euler/6", "guidance_scale": 3.5}, "guidance_scale 1 to 3"),
        ({"schedule": "other/model/euler/6", "solver": "ab2"}, "solver 'euler'"),
        ({"schedule": "noisy/ddim/6"}, "epsilon models"),
    ],
)
def test_leave_to_run_anothers_schedule_has_limits(fields: dict[str, Any], said: str) -> None:
    noisy = schedule("ddim", {6: None}, model="noisy").model_copy(update={"prediction": "epsilon"})
    registry = Registry.of([*REGISTRY.artefacts, noisy])
    with pytest.raises(PacerError) as caught:
        plan(ask(**fields, allow_other_model=True), registry, None)
    assert caught.value.kind is ErrorKind.schedule_mismatch
    assert said in caught.value.detail


EPSILON = ModelCard(
    id="me/sd", width=(64, 64, 8), height=(64, 64, 8), guidance_scale=2.0, prediction="epsilon", solver="dpmpp-2m",
    noise=BetaSchedule(kind="scaled_linear", beta_start=0.00085, beta_end=0.012), grid="karras",
)  # fmt: skip


def test_an_epsilon_model_is_planned_on_its_own_noise_and_grids() -> None:
    made, table = plan(ask(card=EPSILON, steps=4), REGISTRY, None)
    assert (made.schedule, made.solver) == ("karras", "dpmpp-2m")
    assert made.sigmas[0] == pytest.approx(EPSILON.sigma_max)
    assert (table.t[0], table.c[0]) == (pytest.approx(999.0), pytest.approx((1 + EPSILON.sigma_max**2) ** -0.5))
    own = plan(ask(card=EPSILON, sigmas=(14.0, 3.0, 0.0)), REGISTRY, None)[1]
    assert own.t[1] == pytest.approx(EPSILON.noise_schedule.time(np.array([3.0]))[0])
    with pytest.raises(PacerError, match=r"must lie in 0 to 14\.6\d+, sigmas\[0\] is 15"):
        plan(ask(card=EPSILON, sigmas=(15.0, 3.0, 0.0)), REGISTRY, None)
    with pytest.raises(PacerError, match="one of the grids karras, trailing, linspace, exponential"):
        plan(ask(card=EPSILON, schedule="uniform"), REGISTRY, None)


def test_a_schedule_for_other_noise_is_refused() -> None:
    noise = BetaSchedule(kind="linear", beta_start=0.0001, beta_end=0.02)
    foreign = schedule("dpmpp-2m", {4: 20.0}, model="me/pixart", prediction="epsilon", noise=noise)
    asked = ask(card=EPSILON, schedule="me/pixart/dpmpp-2m/4", allow_other_model=True)
    with pytest.raises(PacerError, match="for models trained on other noise than 'me/sd' was") as caught:
        plan(asked, Registry.of([foreign]), None)
    assert caught.value.kind is ErrorKind.schedule_mismatch
