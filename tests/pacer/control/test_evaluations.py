"""A budget in network evaluations: what it buys, that it is never exceeded, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.budget_request import BudgetRequest
from pacer.control.planner import plan
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Plan
from pacer.models import Distilled, load
from schedules.artefact import LEARNED, Entry, Evidence, Figure, Kept, Provenance, Schedule, StoredTable, ValidFor
from schedules.compile import SOLVERS, compile_table
from schedules.grids import GRIDS, uniform
from schedules.registry import Registry
from schedules.table import UncondMode, all_fresh

CARD = load("shapes-64")
WEIGHTS = CARD.weights_sha256 or "0" * 64
MADE = Provenance(
    method="test", teacher_steps=50, calibration_seeds=1, calibration_seed_offset=0, prompts_sha256="0" * 64,
    date="2026-01-01", code_version="0",
)  # fmt: skip


def entry(solver: str, steps: int, psnr: float | None, uncond: tuple[UncondMode, ...] | None = None) -> Entry:
    """An entry whose unconditional outputs are as said; all fresh by default."""
    sigmas = np.linspace(1, 0, steps + 1) ** 1.5
    compiled = compile_table("ab2" if solver == LEARNED else solver, sigmas, "flow")
    modes = uncond or all_fresh(compiled.evaluations_count)
    weights = np.array([0.0 if mode == "skipped" else 1.0 for mode in modes])
    table = StoredTable.of(replace(compiled, uncond=modes, w=weights))
    evidence = None
    if psnr is not None:
        figure, mse = Figure(mean=psnr, low=psnr - 1, high=psnr + 1), Figure(mean=0.1, low=0.1, high=0.1)
        kept = (Kept(by=0.98, least=psnr - 1),)
        evidence = Evidence(
            psnr_db=figure, kept_psnr_db=kept, latent_mse=mse, seeds=8, seed_offset=100, teacher_steps=50
        )
    return Entry(steps=steps, sigmas=tuple(sigmas.tolist()), table=table, evidence=evidence)


def schedule(
    solver: str, *entries: Entry, variant: str | None = None, guidance: tuple[float, float] = (1.0, 3.0), **more: Any
) -> Schedule:
    fields: dict[str, Any] = {"model": "shapes-64", "weights_sha256": WEIGHTS, "servable": True, **more}
    return Schedule(
        format="pacer-schedule/1", revision=None, dtype="float32", quantization=None, prediction="flow",
        solver=solver, variant=variant, order=SOLVERS.get(solver, 3), provenance=MADE, entries=entries,
        valid_for=ValidFor(width=(64, 64), height=(64, 64), guidance_scale=guidance), **fields,
    )  # fmt: skip


REGISTRY = Registry.of(
    [
        schedule("euler", entry("euler", 4, 20.0), entry("euler", 6, 24.0)),
        schedule(LEARNED, entry(LEARNED, 4, 30.0), entry(LEARNED, 6, 35.0)),
        schedule(
            LEARNED,
            entry(LEARNED, 6, 34.0, ("fresh", "reused", "reused", "fresh", "reused", "skipped")),
            variant="placed",
        ),
        schedule(LEARNED, entry(LEARNED, 4, 99.0), variant="g5", guidance=(4.0, 6.0)),
        schedule("heun", entry("heun", 5, 33.0)),
        schedule("ab3", entry("ab3", 2, 98.0), servable=False),
        schedule("ab3", entry("ab3", 2, 97.0), variant="old", weights_sha256="f" * 64),
    ]
)


def ask(**fields: Any) -> BudgetRequest:
    return BudgetRequest(**{"card": CARD, "guidance_scale": 1.5, "width": 64, "height": 64, **fields})


def planned(registry: Registry = REGISTRY, **fields: Any) -> Plan:
    return plan(ask(**fields), registry, None)[0]


def refused(registry: Registry = REGISTRY, **fields: Any) -> PacerError:
    with pytest.raises(PacerError) as caught:
        plan(ask(**fields), registry, None)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "expected", "spent"),
    [
        ({"evaluations": 12}, "shapes-64/learned/6", 12),
        ({"evaluations": 1000}, "shapes-64/learned/6", 12),
        ({"evaluations": 11}, "shapes-64/learned@placed/6", 8),
        ({"evaluations": 8}, "shapes-64/learned@placed/6", 8),
        ({"evaluations": 6, "guidance_scale": 1.0}, "shapes-64/learned/6", 6),
        ({"evaluations": 5, "guidance_scale": 1.0}, "shapes-64/learned/4", 4),
        ({"evaluations": 12, "solver": "euler"}, "shapes-64/euler/6", 12),
        ({"evaluations": 18, "solver": "heun"}, "shapes-64/heun/5", 18),
        ({"evaluations": 12, "guidance_scale": 5.0}, "shapes-64/learned@g5/4", 8),
        ({"evaluations": 8, "steps": 6}, "shapes-64/learned@placed/6", 8),
        ({"evaluations": 8, "steps": 4}, "shapes-64/learned/4", 8),
        ({"evaluations": 12, "schedule": "shapes-64/euler/6"}, "shapes-64/euler/6", 12),
        ({"evaluations": 4, "sigmas": (1.0, 0.5, 0.0)}, "custom", 4),
        ({"evaluations": 13, "schedule": "karras"}, "karras", 12),
        ({"evaluations": 13, "schedule": "karras", "steps": 5}, "karras", 10),
        ({"evaluations": 7}, "shapes-64/euler/3", 6),
        ({"evaluations": 9, "guidance_scale": 9.0}, CARD.grid, 8),
        ({"evaluations": 10**30, "guidance_scale": 9.0}, CARD.grid, 200),
    ],
)
def test_the_best_that_fits_is_taken(fields: dict[str, Any], expected: str, spent: int) -> None:
    made = planned(**fields)
    assert (made.schedule, made.evaluations) == (expected, spent)


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"evaluations": 0}, "budget.evaluations", "at least 1, is 0"),
        (
            {"evaluations": 1},
            "budget.evaluations",
            "the least is 1 step of solver 'euler', 2 network evaluations at guidance_scale 1.5",
        ),
        ({"evaluations": 1}, "budget.evaluations", "allow 2 or more, or set guidance_scale to 1"),
        ({"evaluations": 1, "schedule": "karras"}, "budget.evaluations", "allow 2 or more"),
        (
            {"evaluations": 7, "solver": LEARNED},
            "budget.evaluations",
            "the least is a schedule of solver 'learned', 8 network evaluations",
        ),
        ({"evaluations": 7, "steps": 4}, "budget.evaluations", "4 steps of schedule"),
        ({"evaluations": 7, "steps": 4}, "budget.evaluations", "take 8 at guidance_scale 1.5, the budget says 7"),
        ({"evaluations": 11, "schedule": "shapes-64/learned/6"}, "budget.evaluations", "take 12"),
        ({"evaluations": 3, "sigmas": (1.0, 0.5, 0.0)}, "budget.evaluations", "take 4"),
        ({"evaluations": 17, "solver": "heun", "steps": 5}, "budget.evaluations", "take 18"),
        ({"evaluations": 9, "steps": 101}, "steps", "1 to 100"),
        ({"evaluations": 9, "solver": "rk4"}, "solver", "choose one of"),
    ],
)
def test_what_contradicts_or_cannot_be_is_refused_with_the_numbers(
    fields: dict[str, Any], field: str, said: str
) -> None:
    error = refused(**fields)
    assert (error.kind, error.field) == (ErrorKind.invalid_request, field)
    assert said in error.detail


def test_one_evaluation_is_enough_where_an_entry_skips_the_unconditional_output() -> None:
    for psnr in (20.0, None):
        skipping = Registry.of([schedule(LEARNED, entry(LEARNED, 1, psnr, ("skipped",)), variant="lean")])
        made = planned(skipping, evaluations=1)
        assert (made.schedule, made.evaluations) == ("shapes-64/learned@lean/1", 1)


def test_a_refusal_names_the_least_that_is_to_be_had() -> None:
    lean = Registry.of([schedule(LEARNED, entry(LEARNED, 2, 20.0, ("skipped", "fresh")))])
    assert "'shapes-64/learned/2', 3 network evaluations" in refused(lean, evaluations=2, min_steps=2).detail
    assert "2 network evaluations" in refused(lean, evaluations=1).detail  # of a grid's one step


def test_an_entry_that_nobody_measured_serves_where_the_grid_has_no_more_steps() -> None:
    registry = Registry.of([schedule("ab2", entry("ab2", 3, None), entry("ab2", 4, None))])
    assert planned(registry, evaluations=9).schedule == "shapes-64/ab2/4"
    assert planned(registry, evaluations=10).schedule == "shapes-64/ab2/5"
    assert planned(registry, evaluations=18).schedule == CARD.grid
    assert planned(registry, evaluations=18, allow_interpolated=True).schedule == "shapes-64/ab2/9"


def test_searched_coefficients_are_taken_beyond_their_guidance_within_the_budget() -> None:
    far = planned(evaluations=8, guidance_scale=9.0, solver=LEARNED, allow_interpolated=True)
    assert (far.schedule, far.evaluations, far.interpolated) == ("shapes-64/learned@g5/4", 8, True)
    lean = Registry.of([schedule(LEARNED, entry(LEARNED, 1, 9.0, ("skipped",)))])
    assert planned(lean, evaluations=1, guidance_scale=9.0, allow_interpolated=True).schedule == "shapes-64/learned/1"
    assert "2 network evaluations at guidance_scale 9" in refused(lean, evaluations=1, guidance_scale=9.0).detail


def test_leave_to_interpolate_keeps_the_budget() -> None:
    heavy = Registry.of([schedule("heun", entry("heun", 2, None), entry("heun", 9, None), guidance=(4.0, 5.0))])
    made = planned(heavy, evaluations=10, allow_interpolated=True)
    assert made.evaluations <= 10
    assert planned(heavy, steps=5, allow_interpolated=True).schedule == "shapes-64/heun/5"


def test_where_the_network_takes_the_guidance_scale_a_step_is_one_evaluation() -> None:
    card = CARD.model_copy(update={"embedded_guidance": True})
    for guidance in (1.0, 1.5, 9.0):
        made = planned(REGISTRY, card=card, evaluations=6, guidance_scale=guidance, solver="euler")
        assert (made.steps, made.evaluations) == (6, 6)


def test_guidance_on_top_of_the_networks_own_is_two_evaluations_and_has_no_searched_schedule() -> None:
    card = CARD.model_copy(update={"embedded_guidance": True})
    made = planned(card=card, evaluations=12, true_cfg_scale=4.0)
    assert (made.schedule, made.steps, made.evaluations, made.predicted_quality_db) == (CARD.grid, 6, 12, None)
    assert planned(card=card, steps=6, true_cfg_scale=4.0).schedule == CARD.grid
    assert planned(card=card, steps=6).schedule == "shapes-64/learned/6"
    named = {"card": card, "schedule": "shapes-64/learned/6", "true_cfg_scale": 4.0}
    error = refused(**named)
    assert error.kind is ErrorKind.schedule_mismatch
    assert "no true_cfg_scale" in error.detail
    marked = planned(**named, allow_interpolated=True)
    assert (marked.interpolated, marked.evaluations, marked.predicted_quality_db) == (True, 12, None)


@pytest.mark.parametrize(
    ("embedded", "fields", "said"),
    [
        (True, {"true_cfg_scale": 0.5}, "must lie in 1 to 4"),
        (True, {"true_cfg_scale": float("nan")}, "must lie in 1 to 4"),
        (False, {"true_cfg_scale": 4.0}, "has one scale of guidance; give it as guidance_scale"),
    ],
)
def test_guidance_on_top_that_cannot_be_is_refused(embedded: bool, fields: dict[str, Any], said: str) -> None:
    card = CARD.model_copy(update={"embedded_guidance": embedded, "guidance_range": (1.0, 4.0)})
    error = refused(card=card, **fields)
    assert (error.kind, error.field) == (ErrorKind.invalid_request, "true_cfg_scale")
    assert said in error.detail


def test_a_budget_too_small_for_guidance_on_top_names_its_field() -> None:
    card = CARD.model_copy(update={"embedded_guidance": True})
    error = refused(card=card, evaluations=1, true_cfg_scale=2.0)
    assert "2 network evaluations at true_cfg_scale 2; allow 2 or more, or set true_cfg_scale to 1" in error.detail


def test_a_distilled_model_takes_no_more_than_its_native_steps() -> None:
    card = CARD.model_copy(update={"distilled": Distilled(native_steps=4)})
    assert planned(card=card, evaluations=100).steps == 4
    assert planned(card=card, evaluations=6).steps == 3


def test_no_more_steps_than_are_allowed_are_bought() -> None:
    made, _ = plan(ask(evaluations=100), REGISTRY, None, max_steps=5)
    assert (made.schedule, made.steps) == ("shapes-64/heun/5", 5)


def test_variants_compete_and_the_solver_names_all_of_them() -> None:
    assert planned(steps=6).schedule == "shapes-64/learned/6", "the better evidence"
    assert planned(steps=4, guidance_scale=5.0).schedule == "shapes-64/learned@g5/4"
    assert planned(steps=4, guidance_scale=5.0, solver=LEARNED).solver == LEARNED
    modes: tuple[UncondMode, ...] = ("fresh", "reused")
    equal = [schedule("ab2", entry("ab2", 2, 9.0)), schedule("ab2", entry("ab2", 2, 9.0, modes), variant="z")]
    assert planned(Registry.of(equal), steps=2).schedule == "shapes-64/ab2@z/2", "as good for fewer evaluations"


def test_a_variant_is_asked_for_by_its_id() -> None:
    made = planned(schedule="shapes-64/learned@placed/6", solver=LEARNED)
    assert (made.schedule, made.solver, made.evaluations) == ("shapes-64/learned@placed/6", LEARNED, 8)
    assert (
        "solver 'learned@placed', not for 'euler'"
        in refused(schedule="shapes-64/learned@placed/6", solver="euler").detail
    )
    assert "euler, heun, learned, learned@g5, learned@placed" in refused(schedule="shapes-64/learned@x/6").detail
    far = planned(schedule="shapes-64/learned@g5/4", allow_interpolated=True)
    assert (far.interpolated, far.predicted_quality_db) == (True, None)


def test_a_variants_budgets_are_interpolated_among_its_own() -> None:
    one, two = entry("ab2", 2, None), entry("ab2", 4, None)
    steeper = two.model_copy(update={"sigmas": (1.0, 0.3, 0.2, 0.1, 0.0), "table": None})
    registry = Registry.of([schedule("ab2", one, two), schedule("ab2", one, steeper, variant="steep")])
    plain, steep = (planned(registry, schedule=f"shapes-64/{name}/3", allow_interpolated=True).sigmas
                    for name in ("ab2", "ab2@steep"))  # fmt: skip
    assert steep[1] < plain[1]


@pytest.mark.parametrize("scale", [1.0, 1.5])
@pytest.mark.parametrize("solver", list(SOLVERS))
def test_a_grid_has_as_many_steps_as_fit(solver: str, scale: float) -> None:
    nothing = Registry.of([])
    for evaluations in range(2, 30):
        fields = {"evaluations": evaluations, "schedule": "uniform", "solver": solver, "guidance_scale": scale}
        made = planned(nothing, **fields)
        taken = [
            compile_table(solver, uniform(n), "flow").network_evaluations(scale) for n in (made.steps, made.steps + 1)
        ]
        assert taken[0] == made.evaluations <= evaluations < taken[1]


@st.composite
def registries(draw: st.DrawFn) -> Registry:
    """Artefacts of a few solvers and variants, each with entries of every kind."""
    made = []
    for solver in draw(st.sets(st.sampled_from(["euler", "ab2", "heun", LEARNED]), max_size=3)):
        for variant in draw(st.sets(st.sampled_from([None, "a", "b"]), max_size=2)):
            guidance = draw(st.sampled_from([(1.0, 1.0), (1.0, 3.0), (1.5, 1.5), (2.0, 9.0)]))
            budgets = sorted(draw(st.sets(st.integers(1, 7), min_size=1, max_size=3)))
            entries = (draw(entries_of(solver, steps)) for steps in budgets)
            made.append(schedule(solver, *entries, variant=variant, guidance=guidance))
    return Registry.of(made)


@st.composite
def entries_of(draw: st.DrawFn, solver: str, steps: int) -> Entry:
    rows = 2 * steps - 1 if solver == "heun" else steps
    modes: list[UncondMode] = []
    for _ in range(rows):
        allowed: list[UncondMode] = ["fresh", "skipped", *(["reused"] if "fresh" in modes else [])]  # type: ignore[list-item]
        modes.append(draw(st.sampled_from(allowed)))
    return entry(solver, steps, draw(st.one_of(st.none(), st.integers(20, 24).map(float))), tuple(modes))


@given(
    registry=registries(),
    evaluations=st.integers(1, 40),
    scale=st.sampled_from([1.0, 1.5, 2.5]),
    wish=st.fixed_dictionaries(
        {},
        optional={
            "steps": st.integers(1, 12),
            "solver": st.sampled_from(["euler", "heun", LEARNED]),
            "schedule": st.sampled_from(["karras", "shapes-64/ab2@a/3", "shapes-64/learned/4"]),
            "allow_interpolated": st.just(True),
        },
    ),
)
def test_no_plan_exceeds_its_evaluations_and_none_that_fits_is_better(
    registry: Registry, evaluations: int, scale: float, wish: dict[str, Any]
) -> None:
    request = ask(evaluations=evaluations, guidance_scale=scale, **wish)
    fitting = [
        each.evidence.psnr_db.mean
        for one in registry.artefacts
        for each in one.entries
        if one.valid_for.guidance_scale[0] <= scale <= one.valid_for.guidance_scale[1]
        and one.table(each).network_evaluations(scale) <= evaluations
        and request.solver in (None, one.solver)
        and each.evidence is not None
    ]
    free = not {"steps", "schedule"} & wish.keys()
    if not (free and fitting):
        try:
            plan(request, registry, None)
        except PacerError:
            return
    made, table = plan(request, registry, None)
    assert made.evaluations == table.network_evaluations(scale) <= evaluations
    if free:
        assert (made.predicted_quality_db or (None,))[0] == max(fitting, default=None)
    if "steps" in wish:
        assert made.steps == wish["steps"]
    if made.schedule in GRIDS and free:
        assert table.evaluations_count * (1 if scale == 1 else 2) <= evaluations
