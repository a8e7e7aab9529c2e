"""Reading request bodies strictly: bounded, and JSON as its standard has it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from pacer.errors import ErrorKind, PacerError
from pacer.settings import Settings

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)


class StrictRoute(APIRoute):
    """A route that reads its body with `read_json` before anything else happens."""

    pictures = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler behind the strict reading."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def strictly(request: Request) -> Response:
            return await handle(await StrictRequest.read(request, pictures=self.pictures))

        return strictly


class PictureRoute(StrictRoute):
    """A strict route whose body may be larger by an image and a mask."""

    pictures = True


class StrictRequest(Request):
    """A request whose JSON body was read and checked."""

    _strict_json: object = None

    @classmethod
    async def read(cls, request: Request, *, pictures: bool = False) -> StrictRequest:
        """Read the body of a request; of one with pictures, what is not in them keeps to the limit of all others.

        Raises:
            PacerError: body_too_large or malformed_body.
        """
        strict = cls(request.scope, request.receive)
        settings: Settings = request.app.state.gateway.settings
        limit = settings.max_body_bytes
        strict._body = await read_bounded(strict, pictures_limit(settings) if pictures else limit)
        too_large = PacerError(ErrorKind.body_too_large, f"the body may have at most {limit} bytes beside its images")
        try:
            strict._strict_json = parse_json(strict._body, strict.headers.get("content-type"))
        except PacerError:
            if len(strict._body) > limit:
                raise too_large from None
            raise
        if len(strict._body) - _bytes_of_pictures(strict._strict_json) > limit:
            raise too_large
        return strict

    async def json(self) -> object:
        """The parsed body."""
        return self._strict_json


def pictures_limit(settings: Settings) -> int:
    """Most bytes of a body with an image and a mask, which base64 makes longer by a third."""
    return settings.max_body_bytes + 2 * (settings.max_image_bytes * 4 // 3 + 1024)


def _bytes_of_pictures(parsed: object) -> int:
    """Bytes of the two fields that may be long; base64 and data: URLs have one for each character."""
    fields = parsed if isinstance(parsed, dict) else {}
    return sum(len(text) for name in ("image", "mask") if isinstance(text := fields.get(name), str))


async def read_bounded(request: Request, limit: int) -> bytes:
    """A body, no longer than allowed.

    Raises:
        PacerError: body_too_large, as soon as it is known.
    """
    too_large = PacerError(ErrorKind.body_too_large, f"the body may have at most {limit} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


def parse_json(body: bytes, content_type: str | None) -> object:
    """A JSON object, strictly: no NaN, no key twice, no half of a surrogate pair.

    Raises:
        PacerError: malformed_body, saying what and where.
    """
    if content_type is None or not _JSON.match(content_type):
        raise _malformed("content-type must be application/json")
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twins)
    except json.JSONDecodeError as error:
        raise _malformed(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise _malformed(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the body is not JSON that can be read: {error}") from error
    if not isinstance(parsed, dict):
        raise _malformed("the body must be a JSON object")
    if _SURROGATE.search(body) and not _encodable(parsed):
        raise _malformed("the body has an escape \\uD800 to \\uDFFF without its other half, which is not Unicode text")
    return parsed


def _refuse_constant(name: str) -> object:
    raise _malformed(f"the body is not JSON: {name} is no JSON number")


def _refuse_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise _malformed(f"field {twin[:80]!r} appears twice")
    return fields


def _encodable(parsed: object) -> bool:
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _malformed(detail: str) -> PacerError:
    return PacerError(ErrorKind.malformed_body, detail)
