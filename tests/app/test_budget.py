"""Budgets over HTTP: milliseconds, floors of quality and ranges of steps, planned and kept."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from pacer.control.planner import plan
from pacer.jobs.messages import Plan
from schedules.table import Table
from tests.app.stand_in_worker import SLOW_PROMPT

# The stand-in says that a guided step takes 25 ms, a reused one 15, and all else 5; the registry of these tests holds
# euler/4 (90 dB), euler/6 (94), ab2/6 (97) and
# ab2@thrifty/6 (92, in seven evaluations), and beside them what is shipped.


def quote(client: httpx2.Client, **budget: Any) -> httpx2.Response:
    return client.post("/v1/plan", json={"budget": budget})


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("budget", "schedule", "steps"),
    [
        ({"latency_ms": 5000}, "shapes-64/ab2/6", 6),
        ({"latency_ms": 160}, "shapes-64/ab2/6", 6),
        ({"latency_ms": 150}, "shapes-64/ab2@thrifty/6", 6),
        ({"latency_ms": 60}, "shapes-64/learned/2", 2),
        ({"latency_ms": 5000, "evaluations": 7}, "shapes-64/ab2@thrifty/6", 6),
        ({"latency_ms": 5000, "max_steps": 5}, "shapes-64/euler/4", 4),
        ({"min_psnr_db": 89}, "shapes-64/ab2@thrifty/6", 6),
        ({"min_psnr_db": 92}, "shapes-64/ab2/6", 6),
        ({"min_steps": 6}, "shapes-64/ab2/6", 6),
    ],
)
def test_a_budget_buys_the_best_that_keeps_to_it(
    client: httpx2.Client, budget: dict[str, int], schedule: str, steps: int
) -> None:
    answer = quote(client, **budget)
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert (plan["schedule"], plan["steps"]) == (schedule, steps)
    assert plan["predicted_seconds"] * 1000 <= budget.get("latency_ms", 1e9)
    assert plan["predicted_wait_seconds"] == 0.0
    told = plan["predicted_latency"]
    assert (told["p50"], told["p95"]) == pytest.approx(
        (1.1 * plan["predicted_seconds"], 1.5 * plan["predicted_seconds"])
    )


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("budget", "field", "said"),
    [
        ({"latency_ms": 19}, "latency_ms", "shapes-64/learned/1', would take about 20 ms, the budget says 19 ms"),
        ({"latency_ms": 100, "steps": 6}, "latency_ms", "6 steps"),
        (
            {"latency_ms": 100, "min_psnr_db": 92},
            "latency_ms",
            "which budget.min_psnr_db 92 dB for 98 of 100 pictures needs",
        ),
        ({"min_quality": 1, "max_steps": 8}, "min_quality", "at most 8 steps are allowed"),
        ({"min_psnr_db": 92, "evaluations": 9}, "min_psnr_db", "needs 6 steps, 12 network evaluations"),
    ],
)
def test_what_contradicts_is_refused_with_the_numbers(
    client: httpx2.Client, budget: dict[str, Any], field: str, said: str
) -> None:
    answer = quote(client, **budget)
    assert (answer.status_code, answer.json()["field"]) == (422, f"budget.{field}")
    assert said in answer.json()["detail"]


@pytest.mark.usefixtures("worker")
def test_who_waits_is_told_when_the_deadline_passes(client: httpx2.Client) -> None:
    blocking = client.post("/v1/jobs", json={"prompt": SLOW_PROMPT, "budget": {"steps": 4}}).json()["id"]
    late = {"prompt": "a red star", "budget": {"steps": 1, "latency_ms": 300}}
    answer = client.post("/v1/images/generations", json=late)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_passed")
    assert answer.headers.get("retry-after") is None
    assert answer.elapsed.total_seconds() < 1.0
    client.delete(f"/v1/jobs/{blocking}")


@pytest.mark.usefixtures("worker")
def test_a_crowd_of_drawings_gets_fewer_evaluations_and_quotes_are_no_crowd(client: httpx2.Client) -> None:
    budget = {"latency_ms": 9000, "min_steps": 2, "max_steps": 6}
    slow = client.post("/v1/jobs", json={"prompt": SLOW_PROMPT, "budget": {"steps": 20}}).json()["id"]
    quoted = [quote(client, **budget).json()["evaluations"] for _ in range(40)]
    assert quoted == [12] * 40
    for _ in range(40):
        wrong = client.post("/v1/jobs", json={"prompt": "a red circle", "budget": {**budget, "evaluations": 1}})
        assert wrong.status_code == 422
    assert quote(client, **budget).json()["evaluations"] == 12, "what is wrong does not come"
    for _ in range(80):
        job = client.post("/v1/jobs", json={"prompt": "a red circle", "budget": budget}).json()["id"]
        client.delete(f"/v1/jobs/{job}")  # what is promised is gone, what came is known
    capped = quote(client, **budget).json()["evaluations"]
    assert capped <= 8, "ten a second, the least that eighty are, leave each a tenth of a second: eight forwards"
    assert quote(client, latency_ms=9000, min_psnr_db=92).json()["steps"] == 6, "a floor is never degraded"
    client.delete(f"/v1/jobs/{slow}")


@pytest.mark.usefixtures("worker")
def test_a_plan_is_made_once_unless_the_request_is_counted(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[None] = []

    def counting(*args: Any, **fields: Any) -> tuple[Plan, Table]:
        made.append(None)
        return plan(*args, **fields)

    monkeypatch.setattr("app.intake.plan", counting)

    def plans_of(path: str, **budget: int) -> int:
        made.clear()
        answer = client.post(path, json={"prompt": "a red circle", "budget": budget})
        assert answer.is_success, answer.text
        return len(made)

    assert plans_of("/v1/plan", latency_ms=9000) == 1
    assert plans_of("/v1/jobs", steps=4) == 1
    assert plans_of("/v1/jobs", steps=4, latency_ms=9000) == 2
