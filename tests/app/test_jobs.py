from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from conftest import serving, wait_until
from stand_in_worker import FAILING_PROMPT, SLOW_PROMPT, picture_of

from pacer.settings import Settings


def submit(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/jobs", json={"prompt": "a red circle", "budget": {"steps": 4}, **fields})
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{body['id']}"
    return body


def until(client: httpx2.Client, job_id: str, *states: str) -> dict[str, Any]:
    answer: dict[str, Any] = {}

    def reached() -> bool:
        answer.update(client.get(f"/v1/jobs/{job_id}").json())
        return answer["status"] in states

    wait_until(reached, 10)
    return answer


def follow(client: httpx2.Client, job_id: str, after: str | None = None) -> Iterator[dict[str, Any]]:
    headers = {} if after is None else {"Last-Event-ID": after}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                event[name] = json.loads(value) if name == "data" else value
            elif event:
                yield event
                event = {}


def test_a_job_is_planned_queued_drawn_and_fetched(client: httpx2.Client) -> None:
    job = submit(client, seed=77)
    assert (job["status"], job["seed"]) == ("queued", 77)
    assert (job["plan"]["schedule"], job["plan"]["steps"], job["plan"]["evaluations"]) == ("shapes-64/euler/4", 4, 8)
    ended = until(client, job["id"], "completed")
    assert (ended["step"], ended["total"], ended["attempt"], ended["error"]) == (4, 4, 1, None)
    assert ended["plan"] == job["plan"]
    assert ended["timings"]["denoise"] == pytest.approx(0.04)
    assert ended["finished_ms"] >= ended["submitted_ms"]
    image = client.get(ended["image"])
    assert (image.headers["content-type"], image.content) == ("image/png", picture_of(77))


@pytest.mark.parametrize(
    ("prompt", "budget", "in_time"),
    [
        ("a red circle", {"steps": 1}, None),
        ("a red circle", {"steps": 1, "latency_ms": 10_000}, True),
        (SLOW_PROMPT, {"steps": 1, "latency_ms": 300}, False),
    ],
)
def test_a_job_tells_what_it_took_and_whether_that_was_in_time(
    client: httpx2.Client, prompt: str, budget: dict[str, int], in_time: bool | None
) -> None:
    job = submit(client, prompt=prompt, budget=budget)
    waiting = client.get(f"/v1/jobs/{job['id']}").json()
    assert (waiting["latency_seconds"], waiting["in_time"]) == (None, None) or waiting["status"] == "completed"
    ended = until(client, job["id"], "completed")
    assert ended["latency_seconds"] == pytest.approx((ended["finished_ms"] - ended["submitted_ms"]) / 1000)
    assert (ended["latency_seconds"] > 0.3) == (prompt == SLOW_PROMPT)
    assert ended["in_time"] is in_time


def test_a_job_without_an_image_has_no_latency_and_is_not_in_time(client: httpx2.Client) -> None:
    blocking = submit(client, prompt=SLOW_PROMPT, budget={"steps": 2})
    until(client, blocking["id"], "running")
    dropped, late = (submit(client, budget={"steps": 1, "latency_ms": 400}) for _ in range(2))
    client.delete(f"/v1/jobs/{dropped['id']}")
    ended = [until(client, job["id"], end) for job, end in ((dropped, "cancelled"), (late, "expired"))]
    assert [(job["latency_seconds"], job["in_time"]) for job in ended] == [(None, None), (None, False)]


def test_a_job_may_have_a_budget_in_evaluations(client: httpx2.Client) -> None:
    plan = submit(client, budget={"evaluations": 7})["plan"]
    assert (plan["schedule"], plan["steps"], plan["evaluations"]) == ("shapes-64/ab2@thrifty/6", 6, 7)


def test_a_seed_drawn_at_random_is_told_and_stays(client: httpx2.Client) -> None:
    job = submit(client)
    assert until(client, job["id"], "completed")["seed"] == job["seed"]
    assert submit(client)["seed"] != job["seed"]


def test_what_means_nothing_to_a_job_is_listed(client: httpx2.Client) -> None:
    asked = {"output_compression": 30, "negative_prompt": "blue", "guidance_scale": 1, "allow_other_model": True}
    assert submit(client, **asked)["ignored"] == ["allow_other_model", "negative_prompt", "output_compression"]
    assert submit(client, **{**asked, "guidance_scale": 2, "output_format": "webp"})["ignored"] == ["allow_other_model"]
    assert submit(client)["ignored"] == []


def test_events_tell_every_step_in_order_and_end(client: httpx2.Client) -> None:
    job = submit(client)
    events = list(follow(client, job["id"]))
    assert [event["event"] for event in events] == ["queued", "started", "step", "step", "step", "step", "completed"]
    assert [event["data"]["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4]
    assert {event["data"]["total"] for event in events} == {4}
    assert all(event["data"]["kind"] == event["event"] for event in events)


def test_events_resume_where_a_caller_left_off(client: httpx2.Client) -> None:
    job = submit(client)
    events = list(follow(client, job["id"]))
    for i, event in enumerate(events):
        assert list(follow(client, job["id"], event["id"])) == events[i + 1 :]


def test_events_come_while_the_job_runs(client: httpx2.Client) -> None:
    job = submit(client, prompt=SLOW_PROMPT)
    events = follow(client, job["id"])
    first_step = next(event for event in events if event["event"] == "step")
    assert first_step["data"]["step"] < 4
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "running"
    early = client.get(f"/v1/jobs/{job['id']}/image")
    assert (early.status_code, early.json()["type"]) == (409, "/problems/job_not_finished")
    assert client.delete(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"
    assert next(iter([e for e in events if e["event"] != "step"]))["event"] == "cancelled"


def test_a_running_job_can_be_cancelled_twice(client: httpx2.Client) -> None:
    job = submit(client, prompt=SLOW_PROMPT)
    until(client, job["id"], "running")
    for _ in range(2):
        answer = client.delete(f"/v1/jobs/{job['id']}")
        assert (answer.status_code, answer.json()) == (200, {"id": job["id"], "status": "cancelled"})
    gone = client.get(f"/v1/jobs/{job['id']}/image")
    assert (gone.status_code, gone.json()["type"]) == (409, "/problems/job_cancelled")


def test_cancelling_what_has_ended_changes_nothing(client: httpx2.Client) -> None:
    job = submit(client)
    until(client, job["id"], "completed")
    assert client.delete(f"/v1/jobs/{job['id']}").json()["status"] == "completed"
    assert client.get(f"/v1/jobs/{job['id']}/image").status_code == 200


def test_a_failed_job_says_why(client: httpx2.Client) -> None:
    job = submit(client, prompt=FAILING_PROMPT)
    ended = until(client, job["id"], "failed")
    assert ended["error"]["type"] == "/problems/not_finite"
    assert ended["error"]["detail"] == "the latents overflowed at step 1"
    assert ended["image"] is None
    image = client.get(f"/v1/jobs/{job['id']}/image")
    assert (image.status_code, image.json()["type"]) == (500, "/problems/not_finite")


@pytest.mark.parametrize("job_id", ["nothing", "0" * 32 + "-shapes-64", "0" * 32 + "-never", "%F0%9F%98%80", "a b"])
@pytest.mark.parametrize("tail", ["", "/events", "/image"])
def test_an_unknown_job_is_not_found(client: httpx2.Client, job_id: str, tail: str) -> None:
    answer = client.get(f"/v1/jobs/{job_id}{tail}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/job_not_found"


def test_a_result_past_its_time_is_gone(settings: Settings, client: httpx2.Client) -> None:
    # The time is the worker's setting for results, the gateway's for cancellations: one second, here.
    brief = settings.model_copy(update={"result_ttl_s": 1})
    with serving(brief) as url, httpx2.Client(base_url=url) as other:
        job = submit(other, prompt=SLOW_PROMPT)
        other.delete(f"/v1/jobs/{job['id']}")
        wait_until(lambda: other.get(f"/v1/jobs/{job['id']}").status_code != 200, 5)
        answer = other.get(f"/v1/jobs/{job['id']}")
        assert (answer.status_code, answer.json()["type"]) == (410, "/problems/job_gone")


@pytest.mark.parametrize("last", ["x", "1-2-3", "9" * 30, "-1"])
def test_a_wrong_last_event_id_is_refused(client: httpx2.Client, last: str) -> None:
    job = submit(client)
    answer = client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.json()["field"]) == (422, "Last-Event-ID")


def test_many_followers_share_one_stream(client: httpx2.Client) -> None:
    job = submit(client, budget={"steps": 6})
    seen: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: seen.append([event["event"] for event in follow(client, job["id"])]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["queued", "started", *["step"] * 6, "completed"]] * 8
