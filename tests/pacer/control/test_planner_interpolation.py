"""Budgets, scales and sizes that no schedule was shown to hold for: what is made of the nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pacer.control.planner import plan
from pacer.errors import ErrorKind
from schedules.artefact import LEARNED, Entry, Schedule, StoredTable
from schedules.compile import compile_table
from schedules.registry import Registry
from tests.pacer.control.asking import CARD, FORECAST, REGISTRY, ask, refused, schedule


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (5, "shapes-64/ab2/5"),
        (7, "shapes-64/ab2/7"),
        (16, "shapes-64/ab2/16"),
        (17, CARD.grid),  # more than twice what anybody searched
        (3, "shapes-64/ab2/3"),
        (2, "shapes-64/euler/2"),  # less than half of ab2's least
        (1, CARD.grid),
    ],
)
def test_a_budget_near_searched_ones_is_interpolated_and_marked(steps: int, expected: str) -> None:
    made, table = plan(ask(steps=steps), REGISTRY, FORECAST)
    assert (made.schedule, made.steps, table.evaluations_count) == (expected, steps, steps)
    assert made.interpolated == (expected != CARD.grid)
    assert made.predicted_quality_db is None


def test_a_solver_with_two_evaluations_a_step_is_not_interpolated_unasked() -> None:
    registry = Registry.of([schedule("heun", {4: 90.0, 6: 90.0}), schedule("ab2", {4: 9.0, 6: 9.0})])
    assert plan(ask(steps=5), registry, None)[0].schedule == "shapes-64/ab2/5"
    assert plan(ask(steps=5, solver="heun"), registry, None)[0].schedule == "shapes-64/heun/5"


def test_an_id_of_a_budget_between_searched_ones_is_interpolated_where_the_caller_allows_it() -> None:
    assert refused(schedule="shapes-64/euler/5").kind is ErrorKind.schedule_not_found
    made, table = plan(ask(schedule="shapes-64/euler/5", allow_interpolated=True), REGISTRY, None)
    assert (made.schedule, made.steps, made.interpolated) == ("shapes-64/euler/5", 5, True)
    assert made.predicted_quality_db is None
    assert table.evaluations_count == 5
    np.testing.assert_allclose(made.sigmas, np.linspace(1, 0, 6) ** 1.5, atol=0.02)


def test_guidance_beyond_what_was_shown_is_allowed_and_marked() -> None:
    problem = refused(schedule="shapes-64/ab2/6", guidance_scale=3.5)
    assert "allow_interpolated" in problem.detail
    made, _ = plan(ask(schedule="shapes-64/ab2/6", guidance_scale=3.5, allow_interpolated=True), REGISTRY, None)
    assert (made.schedule, made.interpolated, made.predicted_quality_db) == ("shapes-64/ab2/6", True, None)


def test_leave_to_interpolate_takes_what_holds_as_it_is() -> None:
    made, _ = plan(ask(steps=6, allow_interpolated=True), REGISTRY, None)
    assert (made.schedule, made.interpolated, made.predicted_quality_db) == (
        "shapes-64/ab2/6",
        False,
        (27.0, 26.0, 29.0),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 7}, "shapes-64/ab2/7"),  # between 6 and 8
        ({"steps": 12}, "shapes-64/ab2/12"),  # beyond every one
        ({"steps": 6, "guidance_scale": 3.5}, "shapes-64/ab3/6"),  # none covers it; all were searched at 6
        ({"steps": 5, "guidance_scale": 3.5}, "shapes-64/ab3/5"),
        ({"steps": 5, "solver": "euler"}, "shapes-64/euler/5"),
    ],
)
def test_the_nearest_schedule_is_taken_where_none_holds(fields: dict[str, Any], expected: str) -> None:
    made, _ = plan(ask(**fields, allow_interpolated=True), REGISTRY, None)
    assert (made.schedule, made.interpolated) == (expected, True)
    assert made.steps == fields["steps"]


def test_no_more_steps_are_interpolated_than_are_allowed() -> None:
    assert "1 to 100" in refused(schedule="shapes-64/euler/101", allow_interpolated=True).detail
    far = "shapes-64/euler/" + "9" * 5000
    assert refused(schedule=far, allow_interpolated=True).kind is ErrorKind.schedule_not_found


def test_searched_coefficients_are_not_interpolated() -> None:
    table = StoredTable.of(compile_table("ab2", np.array([1.0, 0.5, 0.0]), "flow"))
    entry_of_two = Entry(steps=2, sigmas=(1.0, 0.5, 0.0), table=table)
    fields = {name: getattr(schedule("ab2", {2: None}), name) for name in Schedule.model_fields}
    learned = Schedule(**{**fields, "solver": LEARNED, "order": 3, "entries": (entry_of_two,)})
    registry = Registry.of([learned])
    assert plan(ask(steps=3, allow_interpolated=True), registry, None)[0].schedule == CARD.grid
    made, _ = plan(ask(steps=2, guidance_scale=3.5, allow_interpolated=True), registry, None)
    assert (made.schedule, made.interpolated) == ("shapes-64/learned/2", True)
