from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.budget_request import BudgetRequest
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import WorkerSpeed
from pacer.models import Distilled, ModelCard, load
from schedules.artefact import (
    LEARNED,
    BetaSchedule,
    Entry,
    Evidence,
    Figure,
    Kept,
    Provenance,
    Schedule,
    StoredTable,
    ValidFor,
)
from schedules.compile import SOLVERS, compile_table
from schedules.grids import GRIDS
from schedules.registry import Registry

CARD = load("shapes-64")
SPEED = WorkerSpeed(turn_seconds=0.1, row_seconds=0.01, encode_seconds=0.5, decode_seconds=0.25)
FORECAST = Forecast(SPEED)


def entry(steps: int, psnr: float | None) -> Entry:
    evidence = None
    if psnr is not None:
        figure = Figure(mean=psnr, low=psnr - 1, high=psnr + 2)
        mse = Figure(mean=0.1, low=0.1, high=0.1)
        kept = (Kept(by=0.98, least=psnr - 1),)
        evidence = Evidence(
            psnr_db=figure, kept_psnr_db=kept, latent_mse=mse, seeds=8, seed_offset=100, teacher_steps=50
        )
    # Not a grid that has a name, so that a test can tell it from the fallback.
    sigmas = tuple((np.linspace(1, 0, steps + 1) ** 1.5).tolist())
    return Entry(steps=steps, sigmas=sigmas, evidence=evidence)


def schedule(solver: str, entries: dict[int, float | None], **changes: Any) -> Schedule:
    fields: dict[str, Any] = {
        "format": "pacer-schedule/1",
        "model": "shapes-64",
        "revision": None,
        "weights_sha256": CARD.weights_sha256 or "0" * 64,
        "dtype": "float32",
        "quantization": None,
        "prediction": "flow",
        "solver": solver,
        "order": SOLVERS[solver],
        "valid_for": ValidFor(width=(64, 64), height=(64, 64), guidance_scale=(1.0, 3.0)),
        "provenance": Provenance(
            method="test", teacher_steps=50, calibration_seeds=1, calibration_seed_offset=0,
            prompts_sha256="0" * 64, date="2026-01-01", code_version="0",
        ),
        "entries": tuple(entry(steps, psnr) for steps, psnr in entries.items()),
    }  # fmt: skip
    return Schedule(**{**fields, **changes})


REGISTRY = Registry.of(
    [
        schedule("euler", {4: 20.0, 6: 24.0}),
        schedule("ab2", {6: 27.0, 8: None}),
        schedule("unipc-2", {9: 30.0}, servable=False),
        schedule("ab3", {6: 99.0}, valid_for=ValidFor(width=(64, 64), height=(64, 64), guidance_scale=(4.0, 5.0))),
        schedule("euler", {6: 50.0}, model="other/model"),
    ]
)


def ask(**fields: Any) -> BudgetRequest:
    return BudgetRequest(**{"card": CARD, "guidance_scale": 1.5, "width": 64, "height": 64, **fields})


def refused(**fields: Any) -> PacerError:
    with pytest.raises(PacerError) as caught:
        plan(ask(**fields), REGISTRY, None)
    return caught.value


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


@st.composite
def own_sigmas(draw: st.DrawFn) -> tuple[float, ...]:
    levels = draw(st.sets(st.floats(1e-300, 1.0), min_size=1, max_size=20))
    return (*sorted(levels, reverse=True), 0.0)


@given(sigmas=own_sigmas(), solver=st.sampled_from(list(SOLVERS)))
def test_own_sigmas_are_run_as_given_or_refused(sigmas: tuple[float, ...], solver: str) -> None:
    request = ask(sigmas=sigmas, solver=solver)
    # Levels that nearly touch, or nearly vanish, may overflow a solver's coefficients; others must do.
    if min(-np.diff(np.log(sigmas[:-1])), default=1.0) < 1e-6 or sigmas[-2] < 1e-12:
        with suppress(PacerError):
            plan(request, REGISTRY, None)
        return
    made, table = plan(request, REGISTRY, None)
    assert (made.schedule, made.solver, made.sigmas) == ("custom", solver, sigmas)
    assert np.isfinite(table.X).all()


def test_sigmas_stay_above_the_models_least() -> None:
    card = ModelCard.model_validate_json(CARD.model_dump_json().replace('"sigma_min":0.0', '"sigma_min":0.1'))
    assert plan(ask(card=card, sigmas=(1.0, 0.1, 0.0)), REGISTRY, None)[0].steps == 2
    with pytest.raises(PacerError, match=r"0\.1"):
        plan(ask(card=card, sigmas=(1.0, 0.05, 0.0)), REGISTRY, None)


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
