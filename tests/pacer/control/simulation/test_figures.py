"""Figures of a run that was made up."""

from dataclasses import replace

import pytest

from pacer.control.budget_request import BudgetRequest
from pacer.control.limits import Forecast
from pacer.control.planner import plan
from pacer.control.simulation.asked import Asked
from pacer.control.simulation.figures import Report
from pacer.control.simulation.service import Outcome, Simulated
from pacer.errors import ErrorKind
from pacer.jobs.messages import WorkerSpeed
from pacer.models import load
from schedules.registry import Registry

CARD = load("shapes-64")
BASE = BudgetRequest(card=CARD, guidance_scale=CARD.guidance_scale, width=64, height=64)
EIGHT, TWENTY = replace(BASE, steps=8, latency_s=1.0), replace(BASE, steps=20)
FORECAST = Forecast(WorkerSpeed(0.01, 0.01, 0.0, 0.0))


def completed(at_s: float, request: BudgetRequest, done_s: float) -> Outcome:
    planned, _ = plan(request, Registry.load(), FORECAST)
    return Outcome(Asked(at_s, request), "completed", planned, done_s)


def test_figures_of_a_run() -> None:
    planned, _ = plan(EIGHT, Registry.load(), FORECAST)
    outcomes = (
        completed(2.0, EIGHT, 2.5),
        completed(2.5, EIGHT, 4.5),
        Outcome(Asked(3.0, EIGHT), "expired", planned),
        Outcome(Asked(3.5, EIGHT), "refused", error=ErrorKind.queue_full),
        Outcome(Asked(4.0, EIGHT), "invalid", error=ErrorKind.invalid_request),
        completed(4.0, TWENTY, 12.0),
    )
    report = Report.of(Simulated(outcomes, 2, 5.0))
    assert (report.workers, report.seconds, report.goodput_per_s, report.utilisation) == (2, 10.0, 0.2, 0.25)
    total, eight, twenty = report.total, report.budgets["8 steps"], report.budgets["20 steps"]
    assert list(report.budgets) == ["8 steps", "20 steps"]
    assert (total.offered, total.admitted, total.refused, total.invalid) == (6, 4, 1, 1)
    assert (total.completed, total.expired, total.in_time, total.attainment) == (3, 1, 2, 0.5)
    assert total.latency_p50_s == 2.0
    assert total.latency_p99_s == pytest.approx(8.0, abs=0.2)
    assert total.mean_steps == 12.0
    assert (eight.offered, eight.in_time, eight.mean_steps) == (5, 1, 8.0)
    assert (twenty.offered, twenty.in_time, twenty.latency_p95_s) == (1, 1, 8.0)
    assert planned.predicted_quality_db is not None
    assert eight.mean_quality_db == pytest.approx(planned.predicted_quality_db[0])
    assert planned.predicted_quality is not None
    assert eight.mean_quality == pytest.approx(planned.predicted_quality[0])


def test_of_nothing_there_is_no_mean() -> None:
    refused = Outcome(Asked(1.0, EIGHT), "refused", error=ErrorKind.queue_full)
    report = Report.of(Simulated((refused,), 1, 0.0))
    assert (report.seconds, report.goodput_per_s, report.utilisation) == (0.0, 0.0, 0.0)
    assert report.total.attainment is report.total.latency_p50_s is report.total.mean_steps is None
    assert report.total.mean_quality_db is report.total.mean_quality is None


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({}, "no steps said"),
        ({"latency_s": 1.0}, "no steps said"),
        ({"steps": 8, "latency_s": 1.0}, "8 steps"),
        ({"min_steps": 4, "max_steps": 20}, "4 to 20 steps"),
        ({"max_steps": 20}, "1 to 20 steps"),
        ({"min_steps": 4}, "4 to any steps"),
        ({"min_quality": 0.97, "max_steps": 20}, "1 to 20 steps, quality 0.97"),
        ({"min_psnr_db": 40.0, "evaluations": 30}, "at most 30 evaluations, 40 dB"),
    ],
)
def test_a_budget_has_its_words(budget: dict[str, float], words: str) -> None:
    assert Asked(0.0, replace(BASE, **budget)).budget == words
