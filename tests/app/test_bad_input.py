"""Whatever is wrong with a request, it gets one clear 4xx in the right shape, and nothing of it reaches the queue."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx2
import pytest
import redis
from conftest import known_jobs

IMAGES, JOBS, PLAN = "/v1/images/generations", "/v1/jobs", "/v1/plan"
GOOD: dict[str, Any] = {"prompt": "a red circle", "budget": {"steps": 4}}

# fields laid over a good request, status, code, field to blame, a word that the message must say
PLAN_CASES: list[tuple[dict[str, Any], int, str, str | None, str]] = [
    ({"stepz": 4}, 422, "invalid_request", "stepz", "no such field"),
    ({"budget": {"steps": 4, "seconds": 1}}, 422, "invalid_request", "budget.seconds", "no such field"),
    ({"budget": {}}, 422, "invalid_request", "budget.steps", "required"),
    ({"budget": {"steps": 0}}, 422, "invalid_request", "budget.steps", "1 to 100"),
    ({"budget": {"steps": -3}}, 422, "invalid_request", "budget.steps", "1 to 100"),
    ({"budget": {"steps": 101}}, 422, "invalid_request", "budget.steps", "1 to 100"),
    ({"budget": {"steps": 10**30}}, 422, "invalid_request", "budget.steps", "1 to 100"),
    ({"budget": {"steps": 4.5}}, 422, "invalid_request", "budget.steps", "integer"),
    ({"budget": {"steps": "4"}}, 422, "invalid_request", "budget.steps", "integer"),
    ({"budget": {"steps": True}}, 422, "invalid_request", "budget.steps", "integer"),
    ({"budget": {"steps": None}}, 422, "invalid_request", "budget.steps", "integer"),
    ({"budget": 4}, 422, "invalid_request", "budget", "dictionary"),
    ({"budget": [4]}, 422, "invalid_request", "budget", "dictionary"),
    ({"budget": None, "num_inference_steps": 101}, 422, "invalid_request", "num_inference_steps", "1 to 100"),
    ({"budget": None, "num_inference_steps": 0}, 422, "invalid_request", "num_inference_steps", "1 to 100, is 0"),
    ({"num_inference_steps": 5}, 422, "invalid_request", "budget.steps", "num_inference_steps says 5"),
    ({"num_inference_steps": False}, 422, "invalid_request", "num_inference_steps", "integer"),
    ({"budget": {}}, 422, "invalid_request", "budget.steps", "or budget.evaluations"),
    ({"budget": {"evaluations": None}}, 422, "invalid_request", "budget.evaluations", "integer"),
    ({"budget": {"evaluations": 0}}, 422, "invalid_request", "budget.evaluations", "at least 1, is 0"),
    ({"budget": {"evaluations": -(10**30)}}, 422, "invalid_request", "budget.evaluations", "at least 1"),
    ({"budget": {"evaluations": 4.0}}, 422, "invalid_request", "budget.evaluations", "integer"),
    ({"budget": {"evaluations": "4"}}, 422, "invalid_request", "budget.evaluations", "integer"),
    ({"budget": {"evaluations": True}}, 422, "invalid_request", "budget.evaluations", "integer"),
    ({"solver": "euler", "budget": {"evaluations": 1}}, 422, "invalid_request", "budget.evaluations", "2 network eval"),
    ({"budget": {"latency_ms": None}}, 422, "invalid_request", "budget.latency_ms", "integer"),
    ({"budget": {"latency_ms": 0}}, 422, "invalid_request", "budget.latency_ms", "above 0, is 0"),
    ({"budget": {"latency_ms": 0.5}}, 422, "invalid_request", "budget.latency_ms", "integer"),
    ({"budget": {"min_quality": None}}, 422, "invalid_request", "budget.min_quality", "number"),
    ({"budget": {"min_quality": 1.01}}, 422, "invalid_request", "budget.min_quality", "at most 1, is 1.01"),
    ({"budget": {"min_quality": "0.9"}}, 422, "invalid_request", "budget.min_quality", "number"),
    ({"budget": {"min_psnr_db": -3}}, 422, "invalid_request", "budget.min_psnr_db", "above 0, is -3"),
    ({"budget": {"min_psnr_db": 300}}, 422, "invalid_request", "budget.min_psnr_db", "300 dB for 98 of 100 pictures"),
    ({"budget": {"kept_by": 0.9, "steps": 4}}, 422, "invalid_request", "budget.kept_by", "give min_psnr_db"),
    ({"budget": {"kept_by": 0.99, "min_psnr_db": 9}}, 422, "invalid_request", "budget.kept_by", "0.5 to 0.98, is 0.99"),
    ({"budget": {"kept_by": 1.5, "min_psnr_db": 9}}, 422, "invalid_request", "budget.kept_by", "0.5 to 0.98, is 1.5"),
    ({"budget": {"kept_by": "all", "min_psnr_db": 9}}, 422, "invalid_request", "budget.kept_by", "number"),
    ({"budget": {"steps": 4, "guidance": 1}}, 422, "invalid_request", "budget.guidance", "no such field"),
    ({"budget": {"min_steps": 0}}, 422, "invalid_request", "budget.min_steps", "is 0"),
    ({"budget": {"max_steps": 10**6}}, 422, "invalid_request", "budget.max_steps", "is 1000000"),
    ({"budget": {"min_steps": 5, "max_steps": 4}}, 422, "invalid_request", "budget.min_steps", "is more than"),
    ({"budget": {"steps": 5, "max_steps": 9}}, 422, "invalid_request", "budget.steps", "give one of them"),
    ({"budget": {"evaluations": 5, "steps": 4}}, 422, "invalid_request", "budget.evaluations", "take 8"),
    ({"budget": {"evaluations": 5}, "num_inference_steps": 4}, 422, "invalid_request", "budget.evaluations", "take 8"),
    ({"budget": {"evaluations": 11}, "schedule": "shapes-64/ab2/6"}, 422, "invalid_request", "budget.evaluations",
     "take 12 at guidance_scale 1.5, the budget says 11"),
    ({"budget": {"evaluations": 3}, "sigmas": [1, 0.5, 0]}, 422, "invalid_request", "budget.evaluations", "take 4"),
    ({"budget": {"evaluations": 8}, "schedule": "magic"}, 404, "schedule_not_found", "schedule", "uniform"),
    ({"budget": {"evaluations": 1}, "schedule": "uniform"}, 422, "invalid_request", "budget.evaluations", "allow 2"),
    ({"model": "dall-e-3"}, 404, "model_not_found", "model", "shapes-64"),
    ({"model": ""}, 422, "invalid_request", "model", "at least 1"),
    ({"model": 7}, 422, "invalid_request", "model", "string"),
    ({"size": "128x128"}, 422, "invalid_request", "size", "64x64"),
    ({"size": "64"}, 422, "invalid_request", "size", "WIDTHxHEIGHT"),
    ({"size": "64x64\n"}, 422, "invalid_request", "size", "WIDTHxHEIGHT"),
    ({"size": "6\u0664x64"}, 422, "invalid_request", "size", "WIDTHxHEIGHT"),
    ({"size": 64}, 422, "invalid_request", "size", "string"),
    ({"guidance_scale": 0.5}, 422, "invalid_request", "guidance_scale", "1 to 10"),
    ({"guidance_scale": 1e9}, 422, "invalid_request", "guidance_scale", "1 to 10"),
    ({"guidance_scale": 10**400}, 422, "invalid_request", "guidance_scale", "number"),
    ({"guidance_scale": "2"}, 422, "invalid_request", "guidance_scale", "number"),
    ({"guidance_scale": True}, 422, "invalid_request", "guidance_scale", "number"),
    ({"solver": "rk45"}, 422, "invalid_request", "solver", "euler"),
    ({"solver": ""}, 422, "invalid_request", "solver", "at least 1"),
    ({"schedule": "shapes-64/euler/6"}, 422, "invalid_request", "schedule", "6 steps"),
    ({"budget": None, "schedule": "shapes-64/euler/5"}, 404, "schedule_not_found", "schedule", "4, 6"),
    ({"budget": None, "schedule": "sd3/euler/4"}, 409, "schedule_mismatch", "schedule", "sd3"),
    ({"schedule": "shapes-64/euler/4", "solver": "ab2"}, 409, "schedule_mismatch", "schedule", "euler"),
    ({"schedule": "shapes-64/euler/4", "guidance_scale": 9}, 409, "schedule_mismatch", "schedule", "1 to 3"),
    ({"schedule": "magic"}, 404, "schedule_not_found", "schedule", "uniform"),
    ({"schedule": "\U0001f600" * 9000}, 413, "body_too_large", None, "20000"),
    ({"schedule": "a\0b"}, 422, "invalid_request", "schedule", "NUL"),
    ({"sigmas": [1, 0.5, 0]}, 422, "invalid_request", "sigmas", "5 sigmas"),
    ({"sigmas": [1, 0.75, 0.5, 0.25, 0.1]}, 422, "invalid_request", "sigmas", "end in 0"),
    ({"sigmas": [1, 0.75, 0.75, 0.25, 0]}, 422, "invalid_request", "sigmas", "decrease strictly"),
    ({"sigmas": [14.6, 5, 2, 1, 0]}, 422, "invalid_request", "sigmas", "0 to 1"),
    ({"sigmas": [1, 0.75, 0.5, 0, -0.25]}, 422, "invalid_request", "sigmas", "0 to 1"),
    ({"sigmas": [0]}, 422, "invalid_request", "sigmas", "2 to 101"),
    ({"sigmas": []}, 422, "invalid_request", "sigmas", "2 to 101"),
    ({"sigmas": [1, True, 0.5, 0.25, 0]}, 422, "invalid_request", "sigmas.1", "number"),
    ({"sigmas": [1, None, 0]}, 422, "invalid_request", "sigmas.1", "number"),
    ({"sigmas": [1, "0.5", 0]}, 422, "invalid_request", "sigmas.1", "number"),
    ({"sigmas": "1,0"}, 422, "invalid_request", "sigmas", "list"),
    ({"sigmas": {"0": 1}}, 422, "invalid_request", "sigmas", "list"),
    ({"sigmas": [1, 0.75, 0.5, 0.25, 0], "schedule": "uniform"}, 422, "invalid_request", "sigmas", "one of them"),
]  # fmt: skip

DRAW_CASES: list[tuple[dict[str, Any], int, str, str | None, str]] = [
    ({"prompt": ""}, 422, "invalid_request", "prompt", "empty"),
    ({"prompt": " \n\t "}, 422, "invalid_request", "prompt", "empty"),
    ({"prompt": "a " * 15}, 422, "invalid_request", "prompt", "at most 14 words, there are 15"),
    ({"prompt": "a" * 201}, 422, "invalid_request", "prompt", "at most 200 characters"),
    ({"prompt": "a\0b"}, 422, "invalid_request", "prompt", "NUL"),
    ({"prompt": None}, 422, "invalid_request", "prompt", "string"),
    ({"prompt": ["a red circle"]}, 422, "invalid_request", "prompt", "string"),
    ({"prompt": 1}, 422, "invalid_request", "prompt", "string"),
    ({"negative_prompt": "a " * 15}, 422, "invalid_request", "negative_prompt", "at most 14 words"),
    ({"negative_prompt": "\0"}, 422, "invalid_request", "negative_prompt", "NUL"),
    ({"seed": -1}, 422, "invalid_request", "seed", f"must lie in 0 to {2**63 - 1}, is -1"),
    ({"seed": 2**63}, 422, "invalid_request", "seed", f"must lie in 0 to {2**63 - 1}, is {2**63}"),
    ({"seed": 1.5}, 422, "invalid_request", "seed", "integer"),
    ({"seed": "1"}, 422, "invalid_request", "seed", "integer"),
    ({"seed": True}, 422, "invalid_request", "seed", "integer"),
    ({"output_format": "gif"}, 422, "invalid_request", "output_format", "'png', 'jpeg' or 'webp'"),
    ({"output_format": "svg"}, 422, "invalid_request", "output_format", "'png', 'jpeg' or 'webp'"),
    ({"output_compression": 101}, 422, "invalid_request", "output_compression", "must lie in 0 to 100, is 101"),
    ({"output_compression": -1}, 422, "invalid_request", "output_compression", "must lie in 0 to 100, is -1"),
    ({"output_compression": True}, 422, "invalid_request", "output_compression", "integer"),
]

IMAGE_CASES: list[tuple[dict[str, Any], int, str, str | None, str]] = [
    ({"n": 0}, 422, "invalid_request", "n", "1 to 10, is 0"),
    ({"n": 11}, 422, "invalid_request", "n", "1 to 10"),
    ({"n": True}, 422, "invalid_request", "n", "integer"),
    ({"n": 2, "seed": 2**63 - 1}, 422, "invalid_request", "seed", "seed + n - 1"),
    ({"quality": "ultra"}, 422, "invalid_request", "quality", "'medium'"),
    ({"quality": "high"}, 422, "invalid_request", "budget.steps", "quality says 16"),
    ({"quality": "high", "budget": {"max_steps": 8}}, 422, "invalid_request", "budget.steps", "give one of them"),
    ({"quality": "high", "budget": {"evaluations": 8}}, 422, "invalid_request", "budget.evaluations", "take 32"),
    ({"response_format": "url"}, 422, "invalid_request", "response_format", "b64_json"),
    ({"stream": True}, 422, "invalid_request", "stream", "False"),
    ({"background": "green"}, 422, "invalid_request", "background", "opaque"),
    ({"partial_images": 4}, 422, "invalid_request", "partial_images", "must lie in 0 to 3, is 4"),
    ({"svg": {"model": 1}}, 422, "invalid_request", "svg.model", "string"),
    ({"svg": {"colour": "x"}}, 422, "invalid_request", "svg.colour", "no such field"),
]

CASES = [
    *((route, *case) for route in (IMAGES, JOBS) for case in (*PLAN_CASES, *DRAW_CASES)),
    *((IMAGES, *case) for case in IMAGE_CASES),
    *((PLAN, *case) for case in PLAN_CASES),
    (JOBS, {"n": 2}, 422, "invalid_request", "n", "no such field"),
    (PLAN, {"seed": 1}, 422, "invalid_request", "seed", "no such field"),
    (PLAN, {"prompt": "a " * 15}, 422, "invalid_request", "prompt", "at most 14 words, there are 15"),
]

# bodies that are no requests at all
BODIES: list[tuple[bytes, str | None, int, str]] = [
    (b"", "application/json", 400, "not JSON"),
    (b"{", "application/json", 400, "line 1 column 2"),
    (b"nonsense", "application/json", 400, "not JSON"),
    (b"[]", "application/json", 400, "must be a JSON object"),
    (b"null", "application/json", 400, "must be a JSON object"),
    (b'"a red circle"', "application/json", 400, "must be a JSON object"),
    (b'{"prompt": "a", "guidance_scale": NaN}', "application/json", 400, "NaN"),
    (b'{"prompt": "a", "sigmas": [Infinity, 0]}', "application/json", 400, "Infinity"),
    (b'{"prompt": "a", "guidance_scale": 1e999}', "application/json", 422, "finite"),
    (b'{"prompt": "a", "sigmas": [1e999, 0]}', "application/json", 422, "finite"),
    (b'{"prompt": "a", "prompt": "b"}', "application/json", 400, "'prompt' appears twice"),
    (b'{"prompt": "a", "budget": {"steps": 4, "steps": 5}}', "application/json", 400, "'steps' appears twice"),
    (b'{"prompt": "a \\ud800 b"}', "application/json", 400, "not Unicode"),
    (b'{"prompt": "a", "\\udfff": 1}', "application/json", 400, "not Unicode"),
    (b'{"prompt": "\xff"}', "application/json", 400, "not UTF-8"),
    (b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", "application/json", 400, "not JSON that can be read"),
    (b"[" * 15_000, "application/json", 400, "not JSON"),
    (b'{"prompt": "' + b"a" * 20_000 + b'"}', "application/json", 413, "at most 20000 bytes"),
    (json.dumps(GOOD).encode(), None, 400, "content-type"),
    (json.dumps(GOOD).encode(), "text/plain", 400, "content-type"),
    (json.dumps(GOOD).encode(), "application/jsonx", 400, "content-type"),
]


def said_clearly(answer: httpx2.Response, route: str, *, status: int, code: str, field: str | None) -> str:
    """The message of an error, after checking its shape."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    if route == IMAGES:
        assert answer.headers["content-type"] == "application/json"
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert (body["error"]["code"], body["error"]["param"]) == (code, field)
        assert body["error"]["type"] == "invalid_request_error"
        message: str = body["error"]["message"]
        return message
    assert answer.headers["content-type"] == "application/problem+json"
    assert (body["type"], body["status"], body.get("field")) == (f"/problems/{code}", status, field)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["advice"]
    detail: str = body["detail"]
    return detail


@pytest.mark.parametrize(("route", "fields", "status", "code", "field", "said"), CASES)
def test_a_wrong_field_is_named(
    client: httpx2.Client, store: redis.Redis, route: str, fields: dict[str, Any], status: int, code: str,
    field: str | None, said: str,
) -> None:  # fmt: skip
    before = known_jobs(store)
    good = {"budget": GOOD["budget"]} if route == PLAN else GOOD
    answer = client.post(route, json={**good, **fields})
    assert said in said_clearly(answer, route, status=status, code=code, field=field)
    assert known_jobs(store) == before


@pytest.mark.parametrize(("body", "content_type", "status", "said"), BODIES)
@pytest.mark.parametrize("route", [IMAGES, JOBS, PLAN])
def test_a_wrong_body_is_told_why(
    client: httpx2.Client, store: redis.Redis, route: str, body: bytes, content_type: str | None, status: int, said: str
) -> None:
    before = known_jobs(store)
    answer = client.post(route, content=body, headers={} if content_type is None else {"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert said in (answer.json()["error"]["message"] if route == IMAGES else json.dumps(answer.json()))
    assert known_jobs(store) == before


def test_a_body_without_a_length_is_bounded_too(client: httpx2.Client) -> None:
    answer = client.post(JOBS, content=(b" " * 1000 for _ in range(30)), headers={"content-type": "application/json"})
    assert said_clearly(answer, JOBS, status=413, code="body_too_large", field=None)


def test_an_announced_length_is_refused_before_the_body_comes(gateway: str) -> None:
    host, port = gateway.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 99999999\r\n\r\n")  # fmt: skip
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def test_every_wrong_field_is_listed(client: httpx2.Client) -> None:
    body = client.post(JOBS, json={"prompt": "", "seed": -1, "stepz": 4}).json()
    assert {error["field"] for error in body["errors"]} == {"prompt", "seed", "stepz"}
    assert "2 more" in body["detail"]


@pytest.mark.parametrize("name", ["x" * 10_000, "\u202e\x07", "a.b", "\U0001f600"])
def test_strange_field_names_come_back_printable_and_short(client: httpx2.Client, name: str) -> None:
    answer = client.post(JOBS, json={**GOOD, name: 1})
    assert answer.status_code == 422
    assert len(answer.content) < 4000
    assert answer.json()["detail"].isprintable()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/jobs", 405), ("PUT", "/v1/plan", 405), ("GET", "/v2", 404), ("GET", "/v1/jobs/", 404)],
)
def test_routes_that_are_not_there(client: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/jobs/x", "DELETE, GET"), ("/v1/jobs", "POST"), (IMAGES, "POST"), ("/healthz", "GET")]
)
def test_a_wrong_method_is_told_all_the_right_ones(client: httpx2.Client, path: str, allowed: str) -> None:
    assert client.patch(path).headers["allow"] == allowed


@pytest.mark.parametrize(("method", "path", "status"), [("GET", IMAGES, 405), ("POST", "/v1/images/variations", 404)])
def test_openai_routes_that_are_not_there(client: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
