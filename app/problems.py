"""How errors leave the house: RFC 9457 problem details on native routes, OpenAI's error object on /v1/images/*."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import Match

from pacer.errors import ErrorKind, PacerError

PROBLEM_TYPE = "application/problem+json"
OPENAI_PREFIX = "/v1/images"
DEFAULT_RETRY_AFTER_S = 5.0

_MAX_ECHO = 500
_REFERENCE = "#/components/schemas/{model}"
_OPENAI_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
_NOT_RETRIED = frozenset(
    {ErrorKind.schedule_mismatch, ErrorKind.job_cancelled, ErrorKind.deadline_passed, ErrorKind.not_finite}
)
"""The same request again would fail again; OpenAI's clients repeat every 409 and 5xx that does not forbid it."""

_OF_JOBS = frozenset(
    {
        ErrorKind.job_cancelled,
        ErrorKind.deadline_passed,
        ErrorKind.worker_failed,
        ErrorKind.not_finite,
        ErrorKind.internal,
    }
)
"""What befalls requests that were taken in: counted as jobs are."""


class FieldProblem(BaseModel):
    """One field that is wrong."""

    field: str
    message: str


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="where this kind of problem is explained, relative to the service")
    title: str = Field(description="short name of the kind")
    status: int
    detail: str = Field(description="what is wrong here and what is allowed")
    advice: str | None = Field(default=None, description="what to do next")
    field: str | None = Field(default=None, description="the request field to blame, dotted")
    errors: list[FieldProblem] | None = Field(default=None, description="every field that is wrong")
    retry_after_s: float | None = Field(default=None, description="seconds after which to try again")
    request_id: str | None = None


class OpenAIErrorBody(BaseModel):
    """What OpenAI's clients read from an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """An error as OpenAI's clients expect it."""

    error: OpenAIErrorBody


def describe(*kinds: ErrorKind, openai: bool = False) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a route that can fail in these ways."""
    media_type = "application/json" if openai else PROBLEM_TYPE
    schema = {"$ref": _REFERENCE.format(model=(OpenAIError if openai else Problem).__name__)}
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        titles = responses.get(kind.status, {}).get("description")
        described = f"{titles}; {kind.title}" if titles else kind.title
        responses[kind.status] = {"description": described, "content": {media_type: {"schema": schema}}}
    return responses


def problem_of(error: PacerError, request_id: str | None) -> Problem:
    """The problem document of an error."""
    extra = {name: value for name, value in error.extra.items() if name not in Problem.model_fields or name == "errors"}
    return Problem(
        type=f"/problems/{error.kind.label}",
        title=error.kind.title,
        status=error.kind.status,
        detail=printable(error.detail),
        advice=error.kind.advice,
        field=None if error.field is None else printable(error.field),
        retry_after_s=_retry_after(error),
        request_id=request_id,
        **extra,
    )


def openai_error_of(error: PacerError) -> OpenAIError:
    """The same error in OpenAI's shape."""
    status = error.kind.status
    group = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = printable(f"{error.detail.rstrip('.')}. {error.kind.advice}")
    param = None if error.field is None else printable(error.field)
    return OpenAIError(error=OpenAIErrorBody(message=message, type=group, param=param, code=error.kind.label))


def answer(error: PacerError, *, path: str, request_id: str | None) -> JSONResponse:
    """The response of an error on a path."""
    headers: dict[str, str] = {}
    retry_after = _retry_after(error)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if error.kind is ErrorKind.unauthorized:
        headers["WWW-Authenticate"] = "Bearer"
    if _speaks_openai(path):
        if error.kind in _NOT_RETRIED:
            headers["X-Should-Retry"] = "false"
        return JSONResponse(openai_error_of(error).model_dump(), error.kind.status, headers)
    body = problem_of(error, request_id).model_dump(exclude_none=True)
    return JSONResponse(body, error.kind.status, headers, media_type=PROBLEM_TYPE)


def printable(text: str) -> str:
    """Text that any client can take: no lone surrogates or control characters, of bounded length."""
    clean = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_MAX_ECHO])
    return clean if len(text) <= _MAX_ECHO else f"{clean}..."


def of_validation(error: RequestValidationError) -> PacerError:
    """The one error that says which fields of a request are wrong."""
    fields = [FieldProblem(field=_field(e["loc"]), message=_message(e)) for e in error.errors()]
    first = fields[0]
    listed = [problem.model_dump() for problem in fields[:20]]
    detail = f"{first.field}: {first.message}" if first.field else first.message
    if len(fields) > 1:
        detail += f" (and {len(fields) - 1} more, see errors)"
    return PacerError(ErrorKind.invalid_request, detail, field=first.field or None, extra={"errors": listed})


def describe_not_found(title: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a route whose path may lead to nothing."""
    return {
        404: {"description": title, "content": {PROBLEM_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}}
    }


def schemas() -> dict[str, Any]:
    """What `describe` refers to, for the components of an OpenAPI document."""
    _, document = models_json_schema(
        [(Problem, "serialization"), (OpenAIError, "serialization")], ref_template=_REFERENCE
    )
    defined: dict[str, Any] = document["$defs"]
    return defined


def install(app: FastAPI) -> None:
    """Give an application these answers."""
    app.add_exception_handler(PacerError, _on_pacer_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def request_id_of(request: Request) -> str | None:
    """The id that the request's context gave it."""
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found


async def _on_pacer_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PacerError)  # noqa: S101  the handler is registered for nothing else
    request.state.refused = {"kind": error.kind.label, "detail": printable(error.detail)}
    if request.method == "POST" and error.kind not in _OF_JOBS:
        model = structlog.contextvars.get_contextvars().get("model", "other")
        request.app.state.gateway.metrics.refused.labels(model, error.kind.label).inc()
    return answer(error, path=request.url.path, request_id=request_id_of(request))


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  the handler is registered for nothing else
    return await _on_pacer_error(request, of_validation(error))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: no such route, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  the handler is registered for nothing else
    status, title = error.status_code, HTTPStatus(error.status_code).phrase
    detail = f"{title}: {request.method} {printable(request.url.path)}; the routes are listed at /docs."
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    if _speaks_openai(request.url.path):
        body = OpenAIErrorBody(message=detail, type="invalid_request_error", param=None, code=title.lower())
        return JSONResponse(OpenAIError(error=body).model_dump(), status, headers)
    problem = Problem(type="about:blank", title=title, status=status, detail=detail, request_id=request_id_of(request))
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers, media_type=PROBLEM_TYPE)


def _allowed(request: Request) -> list[str]:
    """The methods of every route of this path; the framework's own header tells those of the first one only."""
    scopes = {
        method: {**request.scope, "method": method} for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
    }
    routes = request.app.routes
    return [
        method for method, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]


def _speaks_openai(path: str) -> bool:
    return path == OPENAI_PREFIX or path.startswith(f"{OPENAI_PREFIX}/")


def _retry_after(error: PacerError) -> float | None:
    if error.retry_after_s is None and error.kind.status in (429, 503):
        return DEFAULT_RETRY_AFTER_S
    return error.retry_after_s


def _field(location: tuple[int | str, ...]) -> str:
    """The dotted name of a field, without the framework's leading 'body', 'query' or 'header'."""
    return printable(".".join(str(part) for part in location[1:]))


def _message(error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "no such field; the fields are listed at /docs"
    if error["type"] == "missing":
        return "is required"
    message: str = error["msg"]
    return printable(message.removeprefix("Value error, "))
