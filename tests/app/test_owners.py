"""Each key's jobs are its own: over HTTP, a flood under one leaves the other's in time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
import redis
from conftest import serving

from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

HEAVY, LIGHT = "heavy key", "light key"
DIGESTS = tuple(hashlib.sha256(key.encode()).hexdigest() for key in (HEAVY, LIGHT))
BODY = {"prompt": "a red circle", "model": "alone/model", "budget": {"steps": 20}}


@pytest.fixture
def keyed(settings: Settings) -> Settings:
    models = (str(settings.registry_dir.parent / "alone"),) if settings.registry_dir else ()
    return settings.model_copy(update={"api_keys": DIGESTS, "queue_limit": 30, "models": models})


@pytest.fixture
def locked(keyed: Settings) -> Iterator[httpx2.Client]:
    with serving(keyed) as url, httpx2.Client(base_url=url) as client:
        yield client


def post(client: httpx2.Client, key: str, body: dict[str, object] = BODY) -> httpx2.Response:
    return client.post("/v1/jobs", json=body, headers={"Authorization": f"Bearer {key}"})


def test_a_flood_under_one_key_neither_shuts_out_nor_delays_another(
    locked: httpx2.Client, keyed: Settings, store: redis.Redis
) -> None:
    flood = [post(locked, HEAVY) for _ in range(30)]
    assert {answer.status_code for answer in flood} == {202}
    refused = post(locked, HEAVY)
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/queue_full")
    light = post(locked, LIGHT, {**BODY, "budget": {"steps": 4}})
    assert light.status_code == 202
    queue = WorkerQueue(store, keyed, "alone/model", "w")
    assert light.json()["id"] in {claim.job.id for claim in queue.claim(2)}
    for answer in (*flood, light):
        key = LIGHT if answer is light else HEAVY
        path, headers = answer.headers["Location"], {"Authorization": f"Bearer {key}"}
        assert locked.delete(path, headers=headers).json()["status"] == "cancelled"
    queue.retire()


def test_a_flood_of_deadlines_under_one_key_leaves_time_for_another(
    locked: httpx2.Client, keyed: Settings, store: redis.Redis
) -> None:
    queue = WorkerQueue(store, keyed, "alone/model", "w")
    queue.beat([])
    queue.publish_speed(WorkerSpeed(0.2, 0.1, 0.1, 0.1, 8))  # 3.4 s for eight steps
    patient, four_times_both = ({**BODY, "budget": {"steps": 8, "latency_ms": ms}} for ms in (60_000, 27_200))
    drop(locked, LIGHT, post(locked, LIGHT, patient))
    with ThreadPoolExecutor(8) as at_once:
        flood = list(at_once.map(lambda _: post(locked, HEAVY, patient), range(40)))
    refused = [answer.json() for answer in flood if answer.status_code == 429]
    assert {answer["type"] for answer in refused} == {"/problems/deadline_unreachable"}
    assert all("is left to other keys" in answer["detail"] for answer in refused)
    light = post(locked, LIGHT, four_times_both)
    drop(locked, LIGHT, light)
    for answer in flood:
        if answer.status_code == 202:
            drop(locked, HEAVY, answer)
    queue.retire()


def drop(client: httpx2.Client, key: str, taken: httpx2.Response) -> None:
    assert taken.status_code == 202, taken.text
    client.delete(taken.headers["Location"], headers={"Authorization": f"Bearer {key}"})
