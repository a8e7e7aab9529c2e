"""Plans for models with smaller networks, and for weights that are quantised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Lora
from pacer.models import ModelCard
from schedules.artefact import Schedule, SmallerNetwork, StoredTable
from schedules.compile import compile_table
from schedules.registry import Registry
from tests.pacer.control.asking import CARD, FORECAST, ask, entry, schedule

HALF = SmallerNetwork(weights_sha256="1" * 64, cost=0.25)


def sized(steps: int, psnr: float | None) -> Schedule:
    """A schedule whose first half of rows runs a smaller network."""
    made = entry(steps, psnr)
    plain = compile_table("euler", made.sigma_array(), "flow")
    rows = ("half",) * (steps // 2) + ("",) * (steps - steps // 2)
    stored = StoredTable.of(replace(plain, networks=rows))
    kept = made.model_copy(update={"table": stored})
    other = schedule("euler", {steps: psnr}).model_dump()
    return Schedule(**{**other, "entries": (kept,), "variant": "sized", "networks": {"half": HALF}})


def with_half(weights: str | None) -> ModelCard:
    return CARD.model_copy(update={"networks": {"half": weights}})


@pytest.mark.parametrize("weights", [None, HALF.weights_sha256])
def test_rows_of_a_smaller_network_count_as_what_they_cost(weights: str | None) -> None:
    registry = Registry.of([schedule("euler", {4: 20.0}), sized(6, 30.0)])
    made, table = plan(ask(card=with_half(weights), evaluations=8), registry, FORECAST)
    assert (made.schedule, made.evaluations) == ("shapes-64/euler@sized/6", 8)  # 6 + 6 x 0.25 = 7.5
    assert table.networks == ("half",) * 3 + ("",) * 3
    assert made.predicted_seconds == FORECAST.service_s(6, 8)
    made, _ = plan(ask(card=with_half(weights), evaluations=7), registry, None)
    assert made.schedule != "shapes-64/euler@sized/6"


@pytest.mark.parametrize("card", [CARD, with_half("2" * 64)])
def test_a_schedule_for_a_network_that_the_model_has_not_is_not_served(card: ModelCard) -> None:
    registry = Registry.of([schedule("euler", {4: 20.0}), sized(6, 30.0)])
    made, _ = plan(ask(card=card, evaluations=8), registry, None)
    assert made.schedule == "shapes-64/euler/4"
    with pytest.raises(PacerError, match="has rows for the smaller network 'half'") as caught:
        plan(ask(card=card, schedule="shapes-64/euler@sized/6"), registry, None)
    assert caught.value.kind is ErrorKind.schedule_mismatch


def test_a_lora_gets_no_schedule_for_a_smaller_network() -> None:
    registry = Registry.of([schedule("euler", {4: 20.0}), sized(6, 30.0)])
    adapted = {"card": with_half(None), "lora": (Lora("style"),)}
    assert plan(ask(evaluations=8, **adapted), registry, None)[0].schedule == "shapes-64/euler/4"
    with pytest.raises(PacerError, match="leave out lora"):
        plan(ask(schedule="shapes-64/euler@sized/6", **adapted), registry, None)


def test_curves_for_a_smaller_network_are_not_interpolated() -> None:
    registry = Registry.of([sized(6, 30.0)])
    made, _ = plan(ask(card=with_half(None), steps=7, allow_interpolated=True), registry, None)
    assert made.schedule == CARD.grid


def test_schedules_are_for_weights_that_are_quantised_alike() -> None:
    kept = CARD.model_copy(update={"quantization": "float8"})
    registry = Registry.of([schedule("euler", {6: 24.0}), schedule("ab2", {6: 20.0}, quantization="float8")])
    assert plan(ask(steps=6), registry, None)[0].schedule == "shapes-64/euler/6"
    assert plan(ask(steps=6, card=kept), registry, None)[0].schedule == "shapes-64/ab2/6"
    with pytest.raises(PacerError, match="other weights"):
        plan(ask(card=kept, schedule="shapes-64/euler/6"), registry, None)
    foreign, _ = plan(ask(card=kept, schedule="shapes-64/euler/6", allow_other_model=True), registry, None)
    assert foreign.other_model
    assert foreign.predicted_quality_db is None


def test_schedules_are_for_the_dtype_that_the_card_says_if_it_says_one() -> None:
    half = CARD.model_copy(update={"dtype": "float16"})
    registry = Registry.of([schedule("euler", {6: 24.0}), schedule("ab2", {6: 20.0}, dtype="float16")])
    assert plan(ask(steps=6), registry, None)[0].schedule == "shapes-64/euler/6"
    assert plan(ask(steps=6, card=half), registry, None)[0].schedule == "shapes-64/ab2/6"
    other = half.model_copy(update={"dtype": "bfloat16"})
    for steps in (6, 7):
        assert plan(ask(steps=steps, card=other), registry, None)[0].schedule == CARD.grid
    with pytest.raises(PacerError, match="dtype"):
        plan(ask(card=half, schedule="shapes-64/euler/6"), registry, None)
