"""Forms with files, as OpenAI's clients send them: bounded, their fields in the types that JSON would have."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from app.body import pictures_limit, read_bounded
from pacer.errors import ErrorKind, PacerError
from pacer.settings import Settings

_MAX_FIELDS, _MAX_FILES = 200, 20
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_TEXTS = frozenset(
    {
        "background", "complexity", "input_fidelity", "model", "moderation", "negative_prompt", "output_format",
        "prompt", "quality", "response_format", "safety_identifier", "schedule", "size", "solver", "style", "user",
    }
)  # fmt: skip
"""Fields that are text whatever they look like; all others are read as JSON: numbers, true, false, lists, objects."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form's parts.

    Attributes:
        fields: by name; of a[b]=c the inner ones by theirs, of a[]=b a list.
        files: by name, one or more each, in their order.
    """

    fields: dict[str, object]
    files: dict[str, list[bytes]]


async def read_form(request: Request, file_names: frozenset[str]) -> Form:
    """Read a form.

    Args:
        request: with the body unread.
        file_names: parts that are files; NAME[] is NAME again.

    Raises:
        PacerError: body_too_large, malformed_body, or invalid_request where a file came under another name.
    """
    settings: Settings = request.app.state.gateway.settings
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise _malformed("content-type must be multipart/form-data")
    body = await read_bounded(request, pictures_limit(settings))
    request._body = body  # noqa: SLF001  what the framework's own reading leaves there
    form = Form({}, {})
    texts = 0
    try:
        async with request.form(
            max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=settings.max_body_bytes
        ) as parts:
            for name, part in parts.multi_items():
                if isinstance(part, UploadFile):
                    form.files.setdefault(_file_name(name, file_names), []).append(await part.read())
                else:
                    texts += len(part)
                    _put(form.fields, name, part)
    except HTTPException as error:
        raise _malformed(f"the body is no form: {error.detail}") from error
    if texts > settings.max_body_bytes:
        detail = f"the body may have at most {settings.max_body_bytes} bytes beside its files"
        raise PacerError(ErrorKind.body_too_large, detail)
    return form


def _file_name(name: str, allowed: frozenset[str]) -> str:
    plain = name.removesuffix("[]")
    if plain not in allowed:
        detail = f"{plain[:80]}: no such file; the files are {', '.join(sorted(allowed))}"
        raise PacerError(ErrorKind.invalid_request, detail, field=plain[:80])
    return plain


def _put(fields: dict[str, object], name: str, text: str) -> None:
    """Set a field that came as a, a[] or a[b][c]."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise _malformed(f"a part's name must be like a, a[] or a[b], is {name[:80]!r}")
    path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
    value: object = text if path[0] in _TEXTS else _typed(text)
    place = fields
    for inner in path[:-1] if path[-1] else path[:-2]:
        below = place.setdefault(inner, {})
        if not isinstance(below, dict):
            raise _twice(name)
        place = below
    if path[-1]:
        if path[-1] in place:
            raise _twice(name)
        place[path[-1]] = value
        return
    listed = place.setdefault(path[-2], [])
    if not isinstance(listed, list):
        raise _twice(name)
    listed.append(value)


def _typed(text: str) -> object:
    """What a text is in JSON; itself where it is nothing there, or no finite number."""
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def _twice(name: str) -> PacerError:
    return _malformed(f"field {name[:80]!r} appears twice")


def _malformed(detail: str) -> PacerError:
    return PacerError(ErrorKind.malformed_body, detail)
