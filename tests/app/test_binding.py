"""Binding quotes over HTTP: the schedule that was quoted is drawn, once, in time, for the request that it was for."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import redis
from conftest import known_jobs, serving
from PIL import Image
from stand_in_worker import StandInWorker

from pacer.jobs.connection import connect
from pacer.settings import Settings

PROMPT = "a red circle"
pytestmark = pytest.mark.usefixtures("worker")


def bind(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/plan", json={"budget": {"steps": 4}, "bind_seconds": 30, **fields})
    assert answer.status_code == 200, answer.text
    quoted: dict[str, Any] = answer.json()
    return quoted


def submit(client: httpx2.Client, plan_id: str, **fields: Any) -> httpx2.Response:
    return client.post("/v1/jobs", json={"prompt": PROMPT, "plan_id": plan_id, **fields})


def is_refused(answer: httpx2.Response, said: str) -> None:
    assert answer.status_code == 409, answer.text
    problem = answer.json()
    assert problem["type"].endswith("/problems/plan_not_binding")
    assert problem["field"] == "plan_id"
    assert said in problem["detail"]


def test_the_quoted_schedule_is_drawn(client: httpx2.Client) -> None:
    quoted = bind(client, schedule="uniform", guidance_scale=2.0)
    assert time.time() < quoted["expires_at"] <= time.time() + 31
    accepted = submit(client, quoted["plan_id"])
    assert accepted.status_code == 202, accepted.text
    plan = accepted.json()["plan"]
    for name in ("model", "schedule", "solver", "steps", "evaluations", "sigmas", "predicted_quality_db"):
        assert plan[name] == quoted[name]


def test_it_is_the_quoted_one_also_where_another_would_be_planned_now(
    client: httpx2.Client, settings: Settings
) -> None:
    """Though its registry holds other schedules."""
    quoted = bind(client)
    other = settings.model_copy(update={"registry_dir": None})
    with serving(other) as url, httpx2.Client(base_url=url) as elsewhere:
        anew = elsewhere.post("/v1/plan", json={"budget": {"steps": 4}}).json()
        plan = submit(elsewhere, quoted["plan_id"]).json()["plan"]
    assert plan["schedule"] == quoted["schedule"] != anew["schedule"]
    assert plan["sigmas"] == quoted["sigmas"]


def test_it_is_used_once(client: httpx2.Client) -> None:
    plan_id = bind(client)["plan_id"]
    assert submit(client, plan_id).status_code == 202
    is_refused(submit(client, plan_id), "used already")


def test_it_is_for_as_many_images_as_were_quoted(client: httpx2.Client) -> None:
    plan_id = bind(client, n=2)["plan_id"]
    is_refused(submit(client, plan_id), "for n 2, not 1")
    body = {"prompt": PROMPT, "plan_id": plan_id}
    openai = client.post("/v1/images/generations", json={**body, "n": 3})
    assert (openai.status_code, openai.json()["error"]["code"]) == (409, "plan_not_binding")
    again = bind(client, n=2)["plan_id"]
    for fields in ({"n": 2}, {"plan_id": again}):
        drawn = client.post("/v1/images/generations", json={**body, **fields})
        assert drawn.status_code == 200, drawn.text
        assert len(drawn.json()["data"]) == 2
        assert drawn.json()["pacer"]["steps"] == 4


def test_it_ends(client: httpx2.Client, store: redis.Redis) -> None:
    plan_id = bind(client)["plan_id"]
    [key] = store.scan_iter(f"{{q:*}}:plan:{plan_id}")
    assert 29_000 <= store.pttl(key) <= 30_000
    store.pexpire(key, 1)
    time.sleep(0.01)
    is_refused(submit(client, plan_id), "past its time")


@pytest.mark.parametrize("plan_id", ["x", "0" * 32 + "-shapes-64", "0" * 32 + "-nowhere", "a" * 5000])
def test_an_unknown_one_is_refused(client: httpx2.Client, plan_id: str) -> None:
    is_refused(submit(client, plan_id), "plan_id: ")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"budget": {"steps": 4}}, "leave budget out"),
        ({"num_inference_steps": 4}, "leave num_inference_steps out"),
        ({"schedule": "uniform"}, "leave schedule out"),
        ({"guidance_scale": 1.5}, "for guidance_scale 2.0, not 1.5"),
        ({"model": "other"}, "for model shapes-64, not other"),
        ({"size": "32x32"}, "for size 64x64, not 32x32"),
    ],
)
def test_what_was_not_quoted_is_refused_and_leaves_the_plan_as_it_is(
    client: httpx2.Client, store: redis.Redis, fields: dict[str, Any], said: str
) -> None:
    plan_id = bind(client, guidance_scale=2.0)["plan_id"]
    before = known_jobs(store)
    is_refused(submit(client, plan_id, **fields), said)
    assert known_jobs(store) == before
    assert submit(client, plan_id, guidance_scale=2.0, size="64x64", model="shapes-64").status_code == 202


def picture(mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (64, 64)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_part_of_the_quote(client: httpx2.Client) -> None:
    image = base64.b64encode(picture()).decode()
    quoted = bind(client, strength=0.5)
    is_refused(submit(client, quoted["plan_id"]), "an image at strength 0.5, not for drawing without an image")
    is_refused(submit(client, quoted["plan_id"], image=image, strength=0.8), "not for an image at strength 0.8")
    is_refused(submit(client, quoted["plan_id"], image=image, mask=image), "not for an image at strength 0.5 under a")
    for plan, said in ((quoted, {"strength": 0.5}), (bind(client, strength=0.5), {})):
        accepted = submit(client, plan["plan_id"], image=image, **said)
        assert accepted.status_code == 202, accepted.text
        assert accepted.json()["plan"]["sigmas"] == quoted["sigmas"]
    is_refused(submit(client, bind(client)["plan_id"], image=image), "for drawing without an image")


@pytest.mark.parametrize(
    ("quoted_for", "said", "begins"),
    [
        ({}, {}, 1.0),
        ({"strength": 0.6}, {}, 0.6),
        ({"strength": 0.6}, {"strength": "0.6"}, 0.6),
        ({"budget": None, "sigmas": [0.7, 0.4, 0.2, 0]}, {}, 0.7),
    ],
)
def test_a_masked_edit_uses_a_quote(
    client: httpx2.Client, worker: StandInWorker, quoted_for: dict[str, Any], said: dict[str, str], begins: float
) -> None:
    plan_id = bind(client, masked=True, **quoted_for)["plan_id"]
    form = {"prompt": PROMPT, "plan_id": plan_id, **said}
    image, mask = picture(), picture("RGBA")
    unmasked = client.post("/v1/images/edits", data=form, files={"image": image})
    assert (unmasked.status_code, unmasked.json()["error"]["code"]) == (409, "plan_not_binding")
    drawn = client.post("/v1/images/edits", data=form, files={"image": image, "mask": mask})
    assert drawn.status_code == 200, drawn.text
    facts = drawn.json()["pacer"]
    assert facts["sigmas"][0] == begins
    table = worker.claims[facts["images"][0]["id"]].job.table
    assert ("image" in table.base, bool(table.original)) == (True, True)


@pytest.mark.parametrize("seconds", [0, -1, 61])
def test_nothing_is_bound_for_longer_than_the_setting(client: httpx2.Client, seconds: int) -> None:
    answer = client.post("/v1/plan", json={"bind_seconds": seconds})
    assert (answer.status_code, answer.json()["field"]) == (422, "bind_seconds")
    assert "1 to 60" in answer.json()["detail"]


def test_a_quote_that_is_not_asked_to_bind_has_no_id(client: httpx2.Client) -> None:
    quoted = client.post("/v1/plan", json={"budget": {"steps": 4}}).json()
    assert not {"plan_id", "expires_at"} & quoted.keys()


def test_a_deadline_is_kept_and_looked_at_anew(client: httpx2.Client, store: redis.Redis) -> None:
    quoted = bind(client, budget={"latency_ms": 3000, "max_steps": 4})
    while store.exists("{q:shapes-64}:lease", "{q:shapes-64}:pending"):  # the last of them to end clears the sums
        time.sleep(0.01)
    now_ms = int(time.time() * 1000)
    slot, work, lease = now_ms // 100 + 10, "{q:shapes-64}:work", "{q:shapes-64}:lease"
    store.zadd(lease, {"somebody": now_ms + 60_000})  # a worker that looks for jobs clears them too where none is held
    store.hset(work, f"d{slot}", 10**6)
    try:
        refused = submit(client, quoted["plan_id"])
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/deadline_unreachable")
    finally:
        store.hdel(work, f"d{slot}")
        store.zrem(lease, "somebody")
    accepted = submit(client, quoted["plan_id"])
    assert accepted.status_code == 202, accepted.text
    job = f"{{q:shapes-64}}:job:{accepted.json()['id']}"
    submitted, deadline = (int(value) for value in store.hmget(job, "submitted_ms", "deadline_ms"))
    assert deadline - submitted == 3000


KEYS = ("one key", "another key")


@pytest.fixture
def locked(settings: Settings) -> Iterator[httpx2.Client]:
    digests = tuple(hashlib.sha256(key.encode()).hexdigest() for key in KEYS)
    with serving(settings.model_copy(update={"api_keys": digests})) as url, httpx2.Client(base_url=url) as client:
        yield client


def test_it_is_for_the_key_that_it_was_given_to(locked: httpx2.Client) -> None:
    mine, yours = ({"Authorization": f"Bearer {key}"} for key in KEYS)
    plan_id = locked.post("/v1/plan", json={"bind_seconds": 9}, headers=mine).json()["plan_id"]
    body = {"prompt": PROMPT, "plan_id": plan_id}
    is_refused(locked.post("/v1/jobs", json=body, headers=yours), "never given to you")
    assert locked.post("/v1/jobs", json=body, headers=mine).status_code == 202


def test_a_full_queue_leaves_it_unused(settings: Settings) -> None:
    small = settings.model_copy(update={"queue_limit": 1, "models": ("shapes-64", *lonely(settings))})
    with serving(small) as url, httpx2.Client(base_url=url) as client, connect(str(settings.redis_url)) as store:
        plan_id = bind(client, model="alone/model")["plan_id"]
        first = client.post("/v1/jobs", json={"prompt": PROMPT, "model": "alone/model"})
        full = submit(client, plan_id)
        assert (full.status_code, full.json()["type"]) == (429, "/problems/queue_full")
        client.delete(first.headers["Location"])
        accepted = submit(client, plan_id)
        assert accepted.status_code == 202
        client.delete(accepted.headers["Location"])
        assert store.zcard("{q:alone--model}:pending") == 0


def lonely(settings: Settings) -> tuple[str, ...]:
    assert settings.registry_dir is not None
    return (str(settings.registry_dir.parent / "alone"),)
