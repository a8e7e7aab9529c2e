"""Figures are told, and floors kept by them, only at the guidance scale at which they were measured."""

from __future__ import annotations

from typing import Any

import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.frontier import frontier
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.control.ways import Ways
from pacer.errors import PacerError
from pacer.jobs.messages import Plan, TableMessage, WorkerSpeed
from pacer.models import load
from schedules.registry import Registry

CARD = load("shapes-64")
REGISTRY = Registry.load()
FORECAST = Forecast(WorkerSpeed(turn_seconds=0.01, row_seconds=0.005, encode_seconds=0.01, decode_seconds=0.01))

MEASURED, BETWEEN = 1.5, 2.2
SOLVER = "dpmpp-2m"
"""Its artefact was measured at 1.5 and holds from 1 to 3."""


def ask(scale: float, **fields: Any) -> BudgetRequest:
    wanted = {"card": CARD, "guidance_scale": scale, "width": 64, "height": 64, "solver": SOLVER, **fields}
    return BudgetRequest(**wanted)


def made(scale: float, **fields: Any) -> Plan:
    return plan(ask(scale, **fields), REGISTRY, FORECAST)[0]


@pytest.mark.parametrize(
    "budget", [{"steps": 8}, {"schedule": f"shapes-64/{SOLVER}/8"}, {"latency_s": 5.0, "max_steps": 8}]
)
def test_quality_is_promised_at_the_measured_scale_alone(budget: dict[str, Any]) -> None:
    known, unknown = made(MEASURED, **budget), made(BETWEEN, **budget)
    assert known.schedule == unknown.schedule == f"shapes-64/{SOLVER}/8", "the better schedule is so at both"
    assert known.predicted_quality_db is not None
    assert known.kept_psnr_db
    assert (unknown.predicted_quality_db, unknown.kept_psnr_db) == (None, ())
    assert unknown.predicted_seconds == known.predicted_seconds
    assert not unknown.interpolated


def test_a_floor_is_refused_where_nobody_measured() -> None:
    assert made(MEASURED, min_psnr_db=25.0).schedule.startswith(f"shapes-64/{SOLVER}/")
    with pytest.raises(PacerError, match=r"ask for guidance_scale 1\.5, where something was, or leave the floor out"):
        made(BETWEEN, min_psnr_db=25.0)
    with pytest.raises(PacerError, match="were never measured"):
        made(BETWEEN, schedule=f"shapes-64/{SOLVER}/8", min_psnr_db=25.0)


def test_the_frontier_has_what_was_measured_at_its_scale() -> None:
    assert frontier(ask(MEASURED), REGISTRY, None)
    assert not frontier(ask(BETWEEN), REGISTRY, None)


def test_a_plan_made_anew_tells_no_figures_of_another_scale() -> None:
    before, table = plan(ask(BETWEEN, steps=8), REGISTRY, FORECAST)
    for scale, known in ((MEASURED, True), (BETWEEN, False)):
        ways = Ways(REGISTRY, "shapes-64").of(before, TableMessage.of(table), scale, 0)
        assert ways is not None
        own, others = ways
        told = [each.plan(before, 0, FORECAST.speed) for each in (own, *others)]
        assert len(told) > 1
        assert all((each.predicted_quality_db is not None) is known for each in told)


@pytest.mark.parametrize(("scale", "variant"), [(MEASURED, "learned"), (3.0, "learned@g3")])
def test_each_scale_that_was_searched_has_schedules_of_its_own(scale: float, variant: str) -> None:
    """What is served there was measured there: quality is told, and floors hold."""
    eight = made(scale, solver=None, steps=8)
    assert eight.schedule == f"shapes-64/{variant}/8"
    assert eight.predicted_quality_db is not None
    floored = made(scale, solver=None, min_psnr_db=30.0)
    assert REGISTRY.find(floored.schedule)[0].measured_scale == scale
    assert floored.kept_psnr_db
    rows = frontier(ask(scale, solver=None), REGISTRY, None)
    assert {row.schedule.rpartition("/")[0] for row in rows} >= {f"shapes-64/{variant}"}
