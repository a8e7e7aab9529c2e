from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from app import problems
from app.context import RequestContext, server_timing
from app.main import create_app
from pacer.settings import Settings


def test_a_harmless_request_id_is_kept(client: httpx2.Client) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "my-id.7"}).headers["x-request-id"] == "my-id.7"


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, "<script>"])
def test_any_other_is_replaced(client: httpx2.Client, given: str | None) -> None:
    answer = client.get("/healthz", headers={} if given is None else {"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_every_answer_says_what_it_took(client: httpx2.Client) -> None:
    for path in ("/healthz", "/v1/models", "/nowhere"):
        assert re.fullmatch(r"total;dur=[0-9]+\.[0-9]", client.get(path).headers["server-timing"])


async def _unread() -> Message:
    raise AssertionError("nobody reads the body")


async def _unsent(_message: Message) -> None:
    """What is answered is of no matter."""


def test_nothing_is_left_of_the_request_before_on_a_connection() -> None:
    seen: list[dict[str, object]] = []

    async def inner(_scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(structlog.contextvars.get_contextvars())

    async def asked() -> None:
        structlog.contextvars.bind_contextvars(model="another's")
        scope = {"type": "http", "method": "GET", "path": "/healthz", "headers": []}
        await RequestContext(inner)(scope, _unread, _unsent)

    asyncio.run(asked())
    assert [set(each) for each in seen] == [{"request_id"}]


def test_server_timing_is_in_milliseconds() -> None:
    assert server_timing({"queue": 0.25, "denoise": 1.5}) == "queue;dur=250.0, denoise;dur=1500.0"


def test_a_bug_is_answered_without_telling_its_innards() -> None:
    broken = FastAPI()
    problems.install(broken)
    broken.add_middleware(RequestContext)

    def bug() -> None:
        raise KeyError("the secret")

    for path in ("/v1/images/bug", "/v1/bug"):
        broken.get(path)(bug)
    with TestClient(broken, raise_server_exceptions=False) as client, capture_logs() as logged:
        openai, native = client.get("/v1/images/bug"), client.get("/v1/bug")
    assert (openai.json()["error"]["code"], native.json()["type"]) == ("internal", "/problems/internal")
    for answer in (openai, native):
        assert (answer.status_code, "secret" in answer.text) == (500, False)
        assert answer.headers["x-request-id"]
    assert [line["event"] for line in logged] == ["unhandled", "request"] * 2


def test_a_refusal_is_logged_with_its_reason(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client, capture_logs() as logged:
        client.post("/v1/plan", json={"budget": {"steps": 1000}})
        client.get("/healthz")
    refused, quiet = logged
    assert (refused["status"], refused["kind"], refused["log_level"]) == (422, "invalid_request", "info")
    assert "1 to 100" in refused["detail"]
    assert (quiet["path"], quiet["log_level"]) == ("/healthz", "debug")


def test_log_lines_are_json_with_the_request_id() -> None:
    script = (
        "import structlog; from app import logs; from pacer.settings import Settings;"
        "logs.configure(Settings(log_format='json', log_level='info'));"
        "structlog.contextvars.bind_contextvars(request_id='r-1');"
        "log = structlog.get_logger(); log.debug('unseen'); log.info('seen', job='j')\n"
        "try: 1 / 0\nexcept ZeroDivisionError: log.exception('broken')"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["event"], line["level"], line["request_id"]) for line in lines] == [
        ("seen", "info", "r-1"),
        ("broken", "error", "r-1"),
    ]
    assert "ZeroDivisionError" in lines[1]["exception"]
