"""A burst of requests with deadlines, on the real store: it gets what callers one after the other would have got."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import httpx2
import pytest
import redis
from conftest import serving

from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.store import JobStore, StaleLoadError
from pacer.jobs.worker_queue import WorkerQueue
from pacer.settings import Settings

MODEL = "alone/model"
BUDGET = {"steps": 8, "latency_ms": 6000}
"""About half a second on the worker of these tests, which holds still."""
AT_ONCE = 24
Post = Callable[[int], httpx2.Response]


@pytest.fixture
def still(settings: Settings, store: redis.Redis) -> Iterator[Settings]:
    """The settings of gateways whose one worker says what it takes, and draws nothing."""
    assert settings.registry_dir is not None
    worker = WorkerQueue(store, settings.model_copy(update={"lease_s": 300.0}), MODEL, "still")
    worker.beat([])
    worker.publish_speed(WorkerSpeed(turn_seconds=0.01, row_seconds=0.03, encode_seconds=0.0, decode_seconds=0.0))
    yield settings.model_copy(update={"models": (str(settings.registry_dir.parent / "alone"),)})
    worker.retire()


@pytest.fixture
def clients(still: Settings) -> Iterator[list[httpx2.Client]]:
    """Of two gateways."""
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(still)) for _ in range(2)]
        yield [stack.enter_context(httpx2.Client(base_url=url, timeout=30)) for url in urls]


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each submission that the store found stale."""
    found: list[None] = []
    submit = JobStore.submit

    async def counting(self: JobStore, *args: Any, **fields: Any) -> None:
        try:
            await submit(self, *args, **fields)
        except StaleLoadError:
            found.append(None)
            raise

    monkeypatch.setattr(JobStore, "submit", counting)
    return found


def admitted(answers: list[httpx2.Response], client: httpx2.Client) -> int:
    """How many were taken in, which are then gone; the others were told that there is no time."""
    taken = [answer for answer in answers if answer.status_code == 202]
    for answer in taken:
        client.delete(answer.headers["location"])
    problems = {answer.json()["type"] for answer in answers if answer not in taken}
    assert problems <= {"/problems/deadline_unreachable"}
    return len(taken)


def posting(clients: list[httpx2.Client], bodies: list[dict[str, Any]]) -> Post:
    def post(place: int) -> httpx2.Response:
        return clients[place % len(clients)].post("/v1/jobs", json={"prompt": "a red circle", **bodies[place]})

    return post


def at_once(post: Post) -> list[httpx2.Response]:
    barrier = Barrier(AT_ONCE)

    def ready(place: int) -> httpx2.Response:
        barrier.wait()
        return post(place)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ready, range(AT_ONCE)))


@pytest.mark.parametrize("gateways", [1, 2])
def test_a_burst_gets_what_callers_one_after_the_other_would_get(
    clients: list[httpx2.Client], stale: list[None], gateways: int
) -> None:
    post = posting(clients[:gateways], [{"budget": BUDGET}] * AT_ONCE)
    in_turn = admitted([post(place) for place in range(AT_ONCE)], clients[0])
    assert 2 <= in_turn <= AT_ONCE // 2
    assert not stale
    assert admitted(at_once(post), clients[0]) == in_turn
    assert 0 < len(stale) < 2 * AT_ONCE


def test_quotes_that_bind_are_used_up_one_after_the_other_too(clients: list[httpx2.Client]) -> None:
    plans = [clients[0].post("/v1/plan", json={"budget": BUDGET, "bind_seconds": 60}).json() for _ in range(AT_ONCE)]
    post = posting(clients, [{"plan_id": plan["plan_id"]} for plan in plans])
    in_turn = admitted(
        [posting(clients, [{"budget": BUDGET}] * AT_ONCE)(place) for place in range(AT_ONCE)], clients[0]
    )
    assert admitted(at_once(post), clients[0]) == in_turn


def test_what_has_no_deadline_is_never_planned_again(clients: list[httpx2.Client], stale: list[None]) -> None:
    post = posting(clients, [{"budget": {"steps": 8}}] * AT_ONCE)
    assert admitted(at_once(post), clients[0]) == AT_ONCE
    assert not stale


def test_ranges_without_a_deadline_get_fewer_steps_in_a_crowd(still: Settings) -> None:
    hurried = still.model_copy(update={"best_effort_slack_s": 6.0})
    with serving(hurried) as url, httpx2.Client(base_url=url) as client:
        post = posting([client], [{"budget": {"min_steps": 2, "max_steps": 12}}] * AT_ONCE)
        answers = [post(place) for place in range(AT_ONCE)]
        steps = [answer.json()["plan"]["steps"] for answer in answers]
        assert admitted(answers, client) == AT_ONCE
    assert (steps[0], steps[-1]) == (12, 2)
    assert steps == sorted(steps, reverse=True)
