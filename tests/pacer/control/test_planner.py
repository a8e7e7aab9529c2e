"""A budget of steps, a registry id or a grid: what is planned for it, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.models import Distilled
from schedules.compile import SOLVERS
from schedules.grids import GRIDS
from schedules.registry import Registry
from tests.pacer.control.asking import CARD, FORECAST, REGISTRY, ask, entry, refused, schedule


def test_a_step_budget_gets_the_schedule_with_the_best_evidence() -> None:
    made, table = plan(ask(steps=6), REGISTRY, None)
    assert made.schedule == "shapes-64/ab2/6"
    assert (made.solver, made.steps, made.predicted_quality_db) == ("ab2", 6, (27.0, 26.0, 29.0))
    assert table.evaluations_count == 6
    assert made.sigmas == entry(6, None).sigmas


def test_evidence_counts_only_where_the_schedule_holds() -> None:
    assert plan(ask(steps=6, guidance_scale=4.5), REGISTRY, None)[0].schedule == "shapes-64/ab3/6"
    assert plan(ask(steps=6, guidance_scale=3.5), REGISTRY, None)[0].schedule == CARD.grid


def test_a_solver_narrows_the_choice() -> None:
    assert plan(ask(steps=6, solver="euler"), REGISTRY, None)[0].schedule == "shapes-64/euler/6"


def test_a_solver_with_two_evaluations_a_step_must_be_asked_for() -> None:
    registry = Registry.of([schedule("heun", {1: 90.0, 6: 90.0}), schedule("ab2", {1: 9.0, 6: 9.0})])
    assert plan(ask(steps=6), registry, None)[0].schedule == "shapes-64/ab2/6"
    assert plan(ask(steps=1), registry, None)[0].schedule == "shapes-64/heun/1"  # Euler's single step
    for wanted in ({"steps": 6, "solver": "heun"}, {"schedule": "shapes-64/heun/6"}):
        made, table = plan(ask(**wanted), registry, None)
        assert (made.schedule, made.steps, made.evaluations) == ("shapes-64/heun/6", 6, 22)
        assert table.evaluations_count == 11


def test_without_an_entry_the_models_grid_serves_and_promises_nothing() -> None:
    made, _ = plan(ask(steps=5, guidance_scale=3.5), REGISTRY, FORECAST)
    assert (made.schedule, made.solver, made.predicted_quality_db) == (CARD.grid, "euler", None)
    assert made.sigmas == pytest.approx(GRIDS[CARD.grid](5))


def test_what_cannot_be_served_is_never_chosen() -> None:
    assert plan(ask(steps=9), REGISTRY, None)[0].solver == "ab2"
    assert refused(schedule="shapes-64/unipc-2/9").kind is ErrorKind.schedule_mismatch


def test_no_budget_at_all_means_the_default() -> None:
    assert plan(ask(), REGISTRY, None, default_steps=8)[0].schedule == "shapes-64/ab2/8"


@pytest.mark.parametrize("native", [None, Distilled(native_steps=7)])
@pytest.mark.parametrize("schedule", [None, "uniform"])
def test_a_default_above_the_limit_is_refused(native: Distilled | None, schedule: str | None) -> None:
    card = CARD.model_copy(update={"distilled": native})
    with pytest.raises(PacerError) as caught:
        plan(ask(card=card, schedule=schedule), REGISTRY, None, default_steps=7, max_steps=6)
    assert (caught.value.kind, caught.value.field) == (ErrorKind.invalid_request, "steps")
    assert "1 to 6" in caught.value.detail
    assert "7" in caught.value.detail
    assert plan(ask(card=card, schedule=schedule, steps=6), REGISTRY, None, default_steps=7, max_steps=6)[0].steps == 6


def test_guidance_costs_a_second_evaluation_per_step() -> None:
    assert plan(ask(steps=6, guidance_scale=1.0), REGISTRY, None)[0].evaluations == 6
    assert plan(ask(steps=6, guidance_scale=1.5), REGISTRY, None)[0].evaluations == 12


def test_seconds_are_predicted_from_the_measured_speed() -> None:
    assert plan(ask(steps=6), REGISTRY, FORECAST)[0].predicted_seconds == pytest.approx(
        0.5 + 6 * 0.1 + 12 * 0.01 + 0.25
    )
    alone = plan(ask(steps=6, guidance_scale=1.0), REGISTRY, FORECAST)[0]
    assert alone.predicted_seconds == pytest.approx(0.5 + 6 * 0.1 + 6 * 0.01 + 0.25)
    assert plan(ask(steps=6), REGISTRY, None)[0].predicted_seconds is None


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("solver", list(SOLVERS))
def test_every_grid_runs_under_every_solver(name: str, solver: str) -> None:
    made, table = plan(ask(steps=7, schedule=name, solver=solver), REGISTRY, None)
    assert (made.schedule, made.solver, made.steps) == (name, solver, 7)
    assert np.isfinite(table.X).all()


def test_a_registry_id_is_taken_as_it_is() -> None:
    made, _ = plan(ask(schedule="shapes-64/euler/4"), REGISTRY, None)
    assert (made.schedule, made.steps) == ("shapes-64/euler/4", 4)


@pytest.mark.parametrize(
    ("fields", "kind", "field", "said"),
    [
        ({"schedule": "other/model/euler/6"}, ErrorKind.schedule_mismatch, "schedule", "'other/model'"),
        ({"schedule": "sd3/euler/6"}, ErrorKind.schedule_mismatch, "schedule", "optimised for model 'sd3'"),
        ({"schedule": "shapes-64/euler/6", "solver": "ab2"}, ErrorKind.schedule_mismatch, "schedule", "solver 'euler'"),
        ({"schedule": "shapes-64/ab3/6"}, ErrorKind.schedule_mismatch, "schedule", "guidance_scale 4 to 5"),
        ({"schedule": "shapes-64/euler/7"}, ErrorKind.schedule_not_found, "schedule", "4, 6"),
        ({"schedule": "shapes-64/heun/6"}, ErrorKind.schedule_not_found, "schedule", "euler"),
        ({"schedule": "quadratic"}, ErrorKind.schedule_not_found, "schedule", "uniform"),
        ({"schedule": "shapes-64/6"}, ErrorKind.invalid_request, "schedule", "model/solver/steps"),
        ({"schedule": "shapes-64/euler/6", "steps": 4}, ErrorKind.invalid_request, "schedule", "6 steps"),
        ({"schedule": "uniform", "sigmas": (1.0, 0.0)}, ErrorKind.invalid_request, "sigmas", "one of them"),
        ({"steps": 6, "solver": "rk4"}, ErrorKind.invalid_request, "solver", "euler"),
        ({"steps": 0}, ErrorKind.invalid_request, "steps", "1 to 100"),
        ({"guidance_scale": -3.0}, ErrorKind.invalid_request, "guidance_scale", "1 to 10 for shapes-64, is -3"),
        ({"guidance_scale": 0.5}, ErrorKind.invalid_request, "guidance_scale", "1 to 10 for shapes-64, is 0.5"),
        ({"guidance_scale": float("nan")}, ErrorKind.invalid_request, "guidance_scale", "is nan"),
        ({"guidance_scale": float("inf")}, ErrorKind.invalid_request, "guidance_scale", "is inf"),
        ({"steps": 101}, ErrorKind.invalid_request, "steps", "1 to 100"),
        ({"sigmas": (1.0, 0.5, 0.0), "steps": 3}, ErrorKind.invalid_request, "sigmas", "4 sigmas"),
        ({"sigmas": (0.0,)}, ErrorKind.invalid_request, "sigmas", "2 to 101"),
        ({"sigmas": tuple(np.linspace(1, 0, 102))}, ErrorKind.invalid_request, "sigmas", "2 to 101"),
        ({"sigmas": (1.0, float("nan"), 0.0)}, ErrorKind.invalid_request, "sigmas", "sigmas[1] is nan"),
        ({"sigmas": (1.5, 0.5, 0.0)}, ErrorKind.invalid_request, "sigmas", "0 to 1"),
        ({"sigmas": (1.0, -0.5, -1.0)}, ErrorKind.invalid_request, "sigmas", "0 to 1"),
        ({"sigmas": (1.0, 0.5, 0.5, 0.0)}, ErrorKind.invalid_request, "sigmas", "decrease strictly"),
        ({"sigmas": (1.0, 0.5)}, ErrorKind.invalid_request, "sigmas", "end in 0"),
    ],
)
def test_a_wrong_request_is_told_what_is_allowed(
    fields: dict[str, Any], kind: ErrorKind, field: str, said: str
) -> None:
    error = refused(**fields)
    assert (error.kind, error.field) == (kind, field)
    assert said in error.detail
