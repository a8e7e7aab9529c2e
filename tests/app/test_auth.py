from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx2
import pytest
from conftest import serving

from app.auth import check_digests, is_known
from app.main import create_app
from pacer.settings import Settings

KEYS = ("first key", "second-kéy")
DIGESTS = tuple(hashlib.sha256(key.encode()).hexdigest() for key in KEYS)


@pytest.fixture(scope="module")
def locked(settings: Settings) -> Iterator[httpx2.Client]:
    with serving(settings.model_copy(update={"api_keys": DIGESTS})) as url, httpx2.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_each_key_opens(locked: httpx2.Client, key: str, scheme: str) -> None:
    assert locked.get("/v1/models", headers={"Authorization": f"{scheme} {key}".encode()}).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", f"Bearer {DIGESTS[0]}", "Basic Zmlyc3Qga2V5", "x\xff"]
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs", "/v1/images/generations", "/v1/nowhere", "/v1//models"])
def test_anything_else_does_not(locked: httpx2.Client, header: str | None, path: str) -> None:
    # The body is broken, too: who has no key is not told so.
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = locked.post(path, content=b"{", headers={"content-type": "application/json", **headers})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    openai = path.startswith("/v1/images")
    assert (answer.json()["error"]["code"] if openai else answer.json()["type"]).endswith("unauthorized")


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json", "/docs", "/", "/problems/queue_full"])
def test_what_needs_no_key(locked: httpx2.Client, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_the_key_is_documented_where_there_is_one(locked: httpx2.Client, client: httpx2.Client) -> None:
    def schemes(of: httpx2.Client) -> list[str]:
        return list(of.get("/openapi.json").json()["components"].get("securitySchemes", {}))

    assert schemes(locked) == ["HTTPBearer"]
    assert schemes(client) == []


def test_keys_are_known_by_their_sha256_only() -> None:
    digests = check_digests(DIGESTS)
    assert all(is_known(key.encode(), digests) for key in KEYS)
    assert not is_known(DIGESTS[0].encode(), digests)
    assert not is_known(b"", digests)


@pytest.mark.parametrize("digest", ["", "secret", "A" * 64, "0" * 63, "0" * 65])
def test_what_is_no_digest_is_refused_at_start(settings: Settings, digest: str) -> None:
    with pytest.raises(ValueError, match=r"PACER_API_KEYS\[1\]"):
        create_app(settings.model_copy(update={"api_keys": (DIGESTS[0], digest)}))
