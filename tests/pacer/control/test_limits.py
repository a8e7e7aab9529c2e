"""Budgets of milliseconds, of a least quality, and of a range of steps: what they buy and how they contradict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.control.budget_request import BudgetRequest
from pacer.control.limits import Forecast
from pacer.control.load import Load
from pacer.control.planner import plan
from pacer.control.work import Work, slot_at
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import Plan, WorkerSpeed
from pacer.models import Distilled, load
from schedules.artefact import Entry, Evidence, Figure, Kept, Provenance, Schedule, ValidFor
from schedules.compile import SOLVERS
from schedules.registry import Registry

CARD = load("shapes-64")
MADE = Provenance(
    method="test", teacher_steps=50, calibration_seeds=1, calibration_seed_offset=0, prompts_sha256="0" * 64,
    date="2026-01-01", code_version="0",
)  # fmt: skip
SPEED = WorkerSpeed(turn_seconds=0.010, row_seconds=0.020, encode_seconds=0.020, decode_seconds=0.030)
"""A guided step takes 50 ms, and so does what is around the steps: n steps take (n + 1) x 50 ms."""


def entry(steps: int, psnr: float, quality: float | None) -> Entry:
    mse = Figure(mean=0.1, low=0.1, high=0.1)
    share = None if quality is None else Figure(mean=quality + 0.01, low=quality, high=quality + 0.02)
    figure = Figure(mean=psnr + 1, low=psnr, high=psnr + 2)
    shares = ((0.5, 3.0), (0.9, 2.0), (0.98, 0.0))[: 1 if quality is None else 3]
    evidence = Evidence(
        psnr_db=figure,
        kept_psnr_db=tuple(Kept(by=by, least=psnr + more) for by, more in shares),
        latent_mse=mse,
        quality=share,
        seeds=8,
        seed_offset=100,
        teacher_steps=50,
        task_score=0.5,
    )
    return Entry(steps=steps, sigmas=tuple(np.linspace(1, 0, steps + 1).tolist()), evidence=evidence)


def schedule(solver: str, *entries: Entry, guidance: tuple[float, float] = (1.0, 3.0)) -> Schedule:
    valid = ValidFor(width=(64, 64), height=(64, 64), guidance_scale=guidance)
    return Schedule(
        format="pacer-schedule/1", revision=None, dtype="float32", quantization=None, prediction="flow", model=CARD.id,
        weights_sha256=CARD.weights_sha256 or "0" * 64, servable=True, solver=solver, variant=None,
        order=SOLVERS[solver], provenance=MADE, entries=entries, valid_for=valid,
    )  # fmt: skip


REGISTRY = Registry.of(
    [
        schedule("ab2", *(entry(steps, 20.0 + 2 * steps, 0.80 + 0.01 * steps) for steps in range(1, 13))),
        schedule("euler", *(entry(steps, 15.0 + 2 * steps, None) for steps in range(1, 13))),
    ]
)


NOW_MS = 1_000_000


def behind(images: int, latency_s: float | None) -> Forecast:
    """What is known behind so many images of four guided steps, due in 0.2 s."""
    at = slot_at(NOW_MS + 200, NOW_MS)
    work = {f"d{at}": 8 * images, f"n{at}": images} if images else {}
    return Forecast.of(Load(SPEED, 1, NOW_MS, Work.of(work, NOW_MS)), latency_s)


def planned(registry: Registry = REGISTRY, *, others: int | None = 0, **fields: Any) -> Plan:
    """The plan of a guided request behind other images; None stands for workers that have measured nothing."""
    request = BudgetRequest(**{"card": CARD, "guidance_scale": 1.5, "width": 64, "height": 64, **fields})
    forecast = None if others is None else behind(others, request.latency_s)
    return plan(request, registry, forecast, default_steps=8, max_steps=50)[0]


def refused(**fields: Any) -> PacerError:
    with pytest.raises(PacerError) as caught:
        planned(**fields)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "solver", "steps"),
    [
        ({"latency_s": 0.35}, "ab2", 6),
        ({"latency_s": 0.349}, "ab2", 5),
        ({"latency_s": 60.0}, "ab2", 12),
        ({"latency_s": 60.0, "max_steps": 9}, "ab2", 9),
        ({"latency_s": 60.0, "solver": "euler"}, "euler", 12),
        ({"latency_s": 0.6, "others": 1}, "ab2", 2),
        ({"latency_s": 0.5, "evaluations": 7}, "ab2", 3),
        ({"latency_s": 1.0, "steps": 4}, "ab2", 4),
        ({"latency_s": 0.2, "others": None}, "ab2", 8),
        ({"latency_s": 0.2, "others": None, "max_steps": 3}, "ab2", 3),
        ({"min_steps": 3}, "ab2", 8),
        ({"min_steps": 11}, "ab2", 11),
        ({"min_steps": 3, "max_steps": 5}, "ab2", 5),
        ({"max_steps": 40}, "ab2", 12),
        ({"min_steps": 20, "max_steps": 40}, CARD.solver, 40),
        ({"min_psnr_db": 30.0}, "ab2", 5),
        ({"min_psnr_db": 30.1}, "ab2", 6),
        ({"min_quality": 0.87}, "ab2", 7),
        ({"min_quality": 0.87, "min_psnr_db": 38.0}, "ab2", 9),
        ({"min_quality": 0.87, "min_steps": 9}, "ab2", 9),
        ({"min_psnr_db": 31.0, "kept_by": 0.5, "solver": "euler"}, "euler", 7),
        ({"min_psnr_db": 30.0, "steps": 12}, "ab2", 12),
        ({"min_psnr_db": 30.0, "latency_s": 0.31}, "ab2", 5),
    ],
)
def test_what_a_budget_buys(fields: dict[str, Any], solver: str, steps: int) -> None:
    made = planned(**fields)
    assert (made.solver, made.steps) == (solver, steps)


def under_load(steps: int, **fields: Any) -> Plan:
    """The plan of a request due in a second, of which so many guided steps of others take a part."""
    at = slot_at(NOW_MS + 900, NOW_MS)
    told = Load(SPEED, 1, NOW_MS, Work.of({f"d{at}": 2 * steps, f"n{at}": max(1, steps // 4)} if steps else {}, NOW_MS))
    request = BudgetRequest(card=CARD, guidance_scale=1.5, width=64, height=64, latency_s=1.0, **fields)
    return plan(request, REGISTRY, Forecast.of(told, 1.0), default_steps=8, max_steps=50, degrade_at=0.5)[0]


def test_the_more_there_is_to_do_the_fewer_steps_beyond_the_least_are_given() -> None:
    given = [under_load(busy, min_steps=2, max_steps=12).steps for busy in (0, 1, 3, 6)]
    assert given[0] == 12
    assert given == sorted(given, reverse=True)
    assert given[-1] < given[1]
    assert under_load(3, min_steps=6, max_steps=6).steps == 6 > given[2], "what may have no fewer is not made to wait"


def hoping(images: int, **fields: Any) -> int:
    """Steps of a request without a deadline behind so many images of ten guided steps, a third of a minute of slack."""
    at = slot_at(NOW_MS + 9_000, NOW_MS)
    told = Load(SPEED, 1, NOW_MS, Work.of({f"b{at}": 20 * images, f"m{at}": images} if images else {}, NOW_MS))
    request = BudgetRequest(card=CARD, guidance_scale=1.5, width=64, height=64, **fields)
    forecast = Forecast.of(told, None, slack_s=20.0)
    return plan(request, REGISTRY, forecast, default_steps=8, max_steps=50, degrade_at=0.5)[0].steps


def test_a_range_of_steps_without_a_deadline_is_degraded_and_never_refused() -> None:
    given = [hoping(images, min_steps=2, max_steps=12) for images in (0, 5, 15, 20, 30, 1000)]
    assert given[:2] == [12, 12]
    assert given == sorted(given, reverse=True)
    assert 2 < given[3] < 12
    assert given[-1] == 2
    for fixed in ({"steps": 12}, {"min_steps": 12, "max_steps": 12}, {"max_steps": 12}, {"min_quality": 0.92}):
        assert hoping(1000, **fixed) == 12


def test_a_floor_of_quality_is_not_degraded() -> None:
    assert under_load(3, min_quality=0.85, max_steps=12).steps == under_load(0, min_quality=0.85, max_steps=12).steps


INVALID, LATE = ErrorKind.invalid_request, ErrorKind.deadline_unreachable


@pytest.mark.parametrize(
    ("fields", "kind", "field", "said"),
    [
        ({"latency_s": 0.05}, INVALID, "latency_ms", "would take about 100 ms, the budget says 50 ms"),
        ({"latency_s": 0.30, "steps": 6}, INVALID, "latency_ms", "6 steps of schedule"),
        ({"latency_s": 0.30, "steps": 6}, INVALID, "latency_ms", "350 ms, the budget says 300 ms"),
        ({"latency_s": 0.30, "min_steps": 6}, INVALID, "latency_ms", "350 ms, the budget says 300 ms"),
        ({"latency_s": 0.30, "others": 1}, LATE, "latency_ms", "100 ms, and with what others were promised by then"),
        ({"latency_s": 0.40, "steps": 6, "others": 1}, LATE, "latency_ms", "350 ms after a wait of about 235 ms"),
        ({"min_quality": 0.9, "latency_s": 0.2}, INVALID, "latency_ms", "10 steps, which budget.min_quality 0.9 needs"),
        ({"min_quality": 0.9, "latency_s": 0.2}, INVALID, "latency_ms", "550 ms, the budget says 200 ms"),
        ({"min_quality": 0.9, "latency_s": 0.6, "others": 20}, LATE, "latency_ms", "after a wait of about 4410 ms"),
        ({"min_quality": 0.9, "evaluations": 12}, INVALID, "min_quality", "0.9 needs 10 steps, 20 network evaluations"),
        ({"min_quality": 0.9, "max_steps": 6}, INVALID, "min_quality", "at most 6 steps are allowed"),
        ({"min_quality": 0.99}, INVALID, "min_quality", "the most is 0.92, by 12 steps"),
        (
            {"min_psnr_db": 99.0},
            INVALID,
            "min_psnr_db",
            "99 dB for 98 of 100 pictures was not shown to be reached; the most is 44",
        ),
        ({"min_psnr_db": 30.0, "steps": 4}, INVALID, "min_psnr_db", "were not shown to reach 30 dB"),
        ({"min_psnr_db": 30.0, "schedule": "karras"}, INVALID, "min_psnr_db", "were never measured"),
        ({"min_psnr_db": 30.0, "guidance_scale": 8.0}, INVALID, "min_psnr_db", "nothing was measured"),
        ({"min_quality": 0.5, "solver": "euler"}, INVALID, "min_quality", "nothing was measured"),
        ({"min_steps": 9, "max_steps": 3}, INVALID, "min_steps", "9 is more than budget.max_steps, 3"),
        ({"min_steps": 51}, INVALID, "min_steps", "1 to 50, is 51"),
        ({"max_steps": 0}, INVALID, "max_steps", "1 to 50, is 0"),
        ({"steps": 5, "max_steps": 9}, INVALID, "steps", "give one of them"),
        ({"min_steps": 9, "schedule": "shapes-64/ab2/6"}, INVALID, "steps", "not within 9 to"),
        (
            {"min_psnr_db": 41, "kept_by": 0.95, "max_steps": 9},
            INVALID,
            "min_psnr_db",
            "95 of 100 pictures needs 11 steps",
        ),
        (
            {"min_psnr_db": 20, "kept_by": 0.9, "solver": "euler"},
            INVALID,
            "min_psnr_db",
            "what 90 of 100 pictures reach was",
        ),
        (
            {"min_psnr_db": 45},
            INVALID,
            "min_psnr_db",
            "by 12 steps; with budget.kept_by 0.9, 12 steps keep it for 90 of 100",
        ),
        (
            {"min_psnr_db": 30, "solver": "euler"},
            INVALID,
            "min_psnr_db",
            "with budget.kept_by 0.5, 6 steps keep it for 50",
        ),
        ({"min_psnr_db": 20, "min_quality": 0.99}, INVALID, "min_quality", "0.99 was not shown to be reached"),
        ({"min_psnr_db": 99, "min_quality": 0.5}, INVALID, "min_psnr_db", "the most is 44, by 12 steps"),
        ({"min_psnr_db": 22, "min_quality": 0.9, "max_steps": 6}, INVALID, "min_quality", "0.9 needs 10 steps"),
        ({"min_psnr_db": 40, "min_quality": 0.82, "max_steps": 6}, INVALID, "min_psnr_db", "needs 10 steps"),
        ({"min_psnr_db": 22, "min_quality": 0.9, "latency_s": 0.2}, INVALID, "latency_ms", "min_quality 0.9 needs"),
        ({"min_psnr_db": 22, "min_quality": 0.9, "steps": 4}, INVALID, "min_quality", "shown to reach 0.9"),
        ({"latency_s": 0.05, "steps": 8}, INVALID, "latency_ms", "8 steps of schedule 'shapes-64/ab2/8' under"),
        ({"evaluations": 12, "steps": 8}, INVALID, "evaluations", "'shapes-64/ab2/8' under solver 'ab2' take 16 at"),
        ({"evaluations": 12, "steps": 14}, INVALID, "evaluations", "'shapes-64/ab2/14' under solver 'ab2' take 28"),
        ({"evaluations": 12, "steps": 30}, INVALID, "evaluations", "schedule 'shift3' under solver 'euler' take 60"),
        ({"kept_by": 0.9}, INVALID, "kept_by", "give min_psnr_db or min_quality"),
        ({"min_psnr_db": 30.0, "kept_by": 0.99}, INVALID, "kept_by", "must lie in 0.5 to 0.98, is 0.99"),
        ({"min_quality": 1.5}, INVALID, "min_quality", "at most 1, is 1.5"),
        ({"min_psnr_db": -1.0}, INVALID, "min_psnr_db", "above 0, is -1"),
        ({"latency_s": 0.0}, INVALID, "latency_ms", "above 0"),
    ],
)
def test_contradictions_are_refused_with_the_numbers(
    fields: dict[str, Any], kind: ErrorKind, field: str, said: str
) -> None:
    error = refused(**fields)
    assert (error.kind, error.field) == (kind, f"budget.{field}")
    assert said in error.detail


def test_of_a_number_of_steps_the_best_schedule_is_refused() -> None:
    error = refused(registry=Registry.load(), guidance_scale=CARD.guidance_scale, steps=8, evaluations=11)
    assert "8 steps of schedule 'shapes-64/learned/8' under solver 'learned' take 16" in error.detail


def test_two_floors_that_no_schedule_keeps_both_are_named_together() -> None:
    """ab2 has the quality, euler the PSNR."""
    registry = Registry.of([schedule("ab2", entry(8, 36.0, 0.9)), schedule("euler", entry(8, 50.0, 0.5))])
    error = refused(registry=registry, min_psnr_db=45.0, min_quality=0.8)
    assert (error.kind, error.field) == (INVALID, "budget.min_psnr_db")
    assert "45 dB for 98 of 100 pictures and budget.min_quality 0.8 are each reached, by no schedule both" in str(error)


def test_when_only_the_wait_is_in_the_way_it_says_when_to_come_back() -> None:
    error = refused(latency_s=0.4, steps=6, others=1)
    assert error.retry_after_s == pytest.approx(0.35)


N_OF_FOUR = {"images": 10, "min_steps": 4, "max_steps": 20}


def test_what_several_images_take_alone_is_no_wait() -> None:
    error = refused(latency_s=0.5, **N_OF_FOUR)
    assert (error.kind, error.field, error.retry_after_s) == (INVALID, "budget.latency_ms", None)
    assert "schedule 'shapes-64/ab2/4', would take about 2463 ms for n 10, the budget says 500 ms" in error.detail
    assert planned(latency_s=2.464, **N_OF_FOUR).steps == 4, "what it says suffices"
    late = refused(latency_s=2.5, others=4, **N_OF_FOUR)
    assert late.kind is LATE
    assert late.retry_after_s is not None
    assert late.retry_after_s > 0


@given(
    latency_s=st.floats(0.01, 2.0), images=st.integers(1, 10), steps=st.integers(1, 12), fixed=st.booleans(),
)  # fmt: skip
def test_on_idle_workers_nobody_is_told_to_come_again(
    latency_s: float, images: int, steps: int, *, fixed: bool
) -> None:
    try:
        planned(latency_s=latency_s, images=images, **({"steps": steps} if fixed else {"min_steps": steps}))
    except PacerError as error:
        assert error.kind is INVALID  # noqa: PT017 -- most are planned


def test_a_plan_tells_of_the_last_of_its_images() -> None:
    one, ten = planned(steps=8), planned(steps=8, images=10)
    assert one.predicted_seconds == ten.predicted_seconds
    assert one.predicted_wait_seconds == 0
    assert ten.predicted_wait_seconds == pytest.approx(8 * 14 * 0.02 + 4 * 8 / 16 * 0.33 + 9 * 0.05)
    assert ten.latency_seconds == pytest.approx((0.45 + ten.predicted_wait_seconds,) * 2)


def test_a_distilled_model_keeps_to_its_native_steps() -> None:
    card = CARD.model_copy(update={"distilled": Distilled(native_steps=4)})
    assert planned(card=card, latency_s=60.0).steps == 4
    assert planned(card=card, latency_s=0.2).steps == 3


def test_a_floor_that_fewer_pictures_keep_takes_fewer_steps() -> None:
    assert [planned(min_psnr_db=41.0, kept_by=share).steps for share in (0.5, 0.9, 0.92, 0.98, None)] == [
        9,
        10,
        11,
        11,
        11,
    ]


def test_the_plan_tells_what_was_expected() -> None:
    made = planned(min_quality=0.87, others=3)
    assert made.predicted_seconds == pytest.approx(0.4)
    assert made.predicted_wait_seconds == pytest.approx(0.695)
    assert made.latency_seconds == pytest.approx((1.095, 1.095)), "speeds that know of no spread"
    assert made.predicted_quality == pytest.approx((0.88, 0.87, 0.89))
    assert made.predicted_quality_db == pytest.approx((35.0, 34.0, 36.0))


@given(
    latency_s=st.none() | st.floats(0.01, 2.0),
    others=st.integers(0, 4),
    evaluations=st.none() | st.integers(1, 60),
    min_steps=st.none() | st.integers(1, 20),
    max_steps=st.none() | st.integers(1, 20),
    min_psnr_db=st.none() | st.floats(1.0, 50.0),
    min_quality=st.none() | st.floats(0.01, 1.0),
    steps=st.none() | st.integers(1, 20),
)
def test_every_plan_keeps_to_every_bound(others: int, **bounds: Any) -> None:
    try:
        made = planned(others=others, **bounds)
    except PacerError:  # what is refused is judged by the table above
        return
    inf = float("inf")

    def bound(name: str, otherwise: float) -> float:
        said = bounds[name]
        return otherwise if said is None else said

    assert made.evaluations <= bound("evaluations", inf)
    assert bound("min_steps", 1) <= made.steps <= bound("max_steps", inf)
    assert bounds["steps"] in (None, made.steps)
    assert made.predicted_seconds is not None
    assert made.predicted_seconds <= bound("latency_s", inf)
    promise = behind(others, bounds["latency_s"]).promise
    assert promise is None or max(promise.late_s(made.steps, made.evaluations)) <= 0
    if bounds["min_psnr_db"] is not None:
        assert dict(made.kept_psnr_db)[0.9] >= bounds["min_psnr_db"]
    if bounds["min_quality"] is not None:
        assert made.predicted_quality is not None
        assert made.predicted_quality[1] >= bounds["min_quality"]


@given(st.floats(0.1, 2.0), st.floats(0.1, 2.0))
def test_more_time_never_buys_less(one: float, other: float) -> None:
    short, long = (planned(latency_s=seconds).predicted_quality_db for seconds in sorted((one, other)))
    assert short is not None
    assert long is not None
    assert short[0] <= long[0]


@given(st.floats(20.0, 44.0))
def test_a_floor_is_reached_with_the_fewest_evaluations(floor: float) -> None:
    made = planned(min_psnr_db=floor)
    assert made.steps == 1 or made.steps == int(np.ceil((floor - 20.0) / 2))
