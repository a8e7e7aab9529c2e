"""Bearer keys, known to the gateway only by their SHA-256."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from secrets import compare_digest
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.problems import answer
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.owners import EVERYBODY, owner_of

PROTECTED = "/v1/"
"""Paths under this prefix need a key; health, metrics, docs and the page do not."""

_OWNER = "pacer.owner"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class BearerKeys:
    """Middleware that lets a request pass only with one of the keys; it looks at no body before that."""

    def __init__(self, app: ASGIApp, digests: Sequence[str]) -> None:
        self._app = app
        self._digests = check_digests(digests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or pass the request on."""
        if scope["type"] != "http" or not scope["path"].startswith(PROTECTED):
            await self._app(scope, receive, send)
            return
        try:
            owner = self._owner(Headers(scope=scope).get("authorization"))
        except PacerError as refusal:
            response = answer(refusal, path=scope["path"], request_id=scope.get("state", {}).get("request_id"))
            await response(scope, receive, send)
            return
        scope[_OWNER] = owner
        await self._app(scope, receive, send)

    def _owner(self, authorization: str | None) -> str:
        if authorization is None:
            raise PacerError(ErrorKind.unauthorized, "this service needs a key, and none was sent.")
        # A header is bytes; latin-1, by which it was decoded, gives them back.
        scheme, _, key = authorization.partition(" ")
        sent = key.strip().encode("latin-1")
        if scheme.lower() != "bearer" or not is_known(sent, self._digests):
            raise PacerError(ErrorKind.unauthorized, "the key sent is not one of this service's.")
        return owner_of(hashlib.sha256(sent).hexdigest())


def _owner_of_request(request: Request) -> str:
    owner: str = request.scope.get(_OWNER, EVERYBODY)
    return owner


OwnerDep = Annotated[str, Depends(_owner_of_request)]
"""Whose a request is: of the key that it came with, or everybody's where none is asked for."""


def is_known(key: bytes, digests: Sequence[bytes]) -> bool:
    """Whether a key's SHA-256 is among the digests; every one is compared, so time tells nothing."""
    digest = hashlib.sha256(key).hexdigest().encode()
    return any([compare_digest(digest, known) for known in digests])  # noqa: C419  any() over a generator stops early


def check_digests(digests: Sequence[str]) -> tuple[bytes, ...]:
    """The digests as bytes.

    Raises:
        ValueError: one is not 64 lower-case hexadecimal digits.
    """
    for i, digest in enumerate(digests):
        if not _DIGEST.fullmatch(digest):
            raise ValueError(
                f"PACER_API_KEYS[{i}] must be a SHA-256 in 64 lower-case hexadecimal digits; "
                "make one with: printf %s KEY | sha256sum"
            )
    return tuple(digest.encode() for digest in digests)
