"""A client of the service, with the standard library alone.

pacer = Pacer("http://127.0.0.1:8000")
picture = pacer.generate("a red circle on a white background", steps=6, seed=1)
Path("picture.png").write_bytes(picture.data)
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode

Json = dict[str, Any]

_BUDGET = ("steps", "evaluations", "latency_ms", "min_quality", "min_psnr_db", "kept_by", "min_steps", "max_steps")


class PacerRefused(Exception):  # noqa: N818  the service's answer, not a fault of this program
    """The service answered with an error.

    Attributes:
        status: the HTTP status.
        kind: which of the service's error kinds, such as queue_full.
        retry_after_s: seconds after which to try again, if the service said so.
    """

    def __init__(self, status: int, kind: str, detail: str, retry_after_s: float | None) -> None:
        super().__init__(f"{kind} ({status}): {detail}")
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that was drawn.

    Attributes:
        data: the image file: PNG, unless output_format said otherwise.
        facts: the service's account: schedule, evaluations, seconds, predicted quality, seed; `latency_seconds` is what
            the image took, `in_time` whether that was by its deadline.
    """

    data: bytes
    facts: Json


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job; `id` is where a later `events` call may resume."""

    id: str
    kind: str
    step: int
    total: int


@dataclass(frozen=True, slots=True)
class Pacer:
    """A service at a base URL.

    Attributes:
        url: such as http://127.0.0.1:8000.
        key: the bearer key, where the service asks for one.
        timeout_s: seconds to wait for any one answer.
    """

    url: str = "http://127.0.0.1:8000"
    key: str | None = None
    timeout_s: float = 180.0

    def generate(self, prompt: str, **fields: Any) -> Picture:
        """Draw one image and wait for it.

        Args:
            prompt: what to draw.
            fields: the budget: steps, evaluations, latency_ms, min_quality, min_psnr_db, kept_by, min_steps or
                max_steps, the service's default where none is given; and any other field of
                POST /v1/images/generations, such as seed.

        Raises:
            PacerRefused: the service said no, and why.
        """
        answer = self._json("POST", "/v1/images/generations", {"prompt": prompt, **_with_budget(fields)})
        return Picture(base64.b64decode(answer["data"][0]["b64_json"]), answer["pacer"])

    def edit(self, prompt: str, image: bytes, *, mask: bytes | None = None, **fields: Any) -> Picture:
        """Redraw an image and wait for it.

        Args:
            prompt: what to draw.
            image: a PNG, JPEG or WebP file of the size that is drawn.
            mask: a PNG or WebP file of the same size; what is transparent in it is repainted, the rest is kept.
            fields: the budget, as in `generate`, all of it spent below the image's noise level; and any other field of
                POST /v1/images/edits, such as strength, seed or resize.

        Raises:
            PacerRefused: the service said no, and why.
        """
        texts = {"prompt": prompt, **{name: _text(value) for name, value in _with_budget(fields).items()}}
        body, kind = _form(texts, {"image": image} if mask is None else {"image": image, "mask": mask})
        answer = self._json("POST", "/v1/images/edits", body, {"Content-Type": kind})
        return Picture(base64.b64decode(answer["data"][0]["b64_json"]), answer["pacer"])

    def plan(self, **fields: Any) -> Json:
        """What a budget would buy: schedule, evaluations, seconds and quality to expect.

        With bind_seconds the answer has a plan_id: `generate`, `edit` or `submit` may name it once instead of a budget,
        to run that very schedule.
        """
        return self._json("POST", "/v1/plan", _with_budget(fields))

    def frontier(self, model: str, guidance_scale: float | None = None, size: str | None = None) -> list[Json]:
        """What each further evaluation buys: plans of the schedules that no other beats, cheapest first.

        Args:
            model: a served model's id.
            guidance_scale: the model's own by default.
            size: such as "512x512"; the model's own by default.

        Raises:
            PacerRefused: no such model, or a scale or a size that it does not take.
        """
        said = {"guidance_scale": guidance_scale, "size": size}
        asked = urlencode({name: value for name, value in said.items() if value is not None})
        plans: list[Json] = self._json("GET", f"/v1/models/{quote(model)}/frontier?{asked}")["data"]
        return plans

    def submit(self, prompt: str, **fields: Any) -> str:
        """Queue one image; returns the job's id."""
        return str(self._json("POST", "/v1/jobs", {"prompt": prompt, **_with_budget(fields)})["id"])

    def status(self, job: str) -> Json:
        """How a job stands."""
        return self._json("GET", f"/v1/jobs/{job}")

    def cancel(self, job: str) -> str:
        """Cancel a job; returns its state, which is its old one if it had ended."""
        return str(self._json("DELETE", f"/v1/jobs/{job}")["status"])

    def image(self, job: str) -> bytes:
        """The image file of a completed job."""
        with self._open("GET", f"/v1/jobs/{job}/image") as answer:
            return answer.read()

    def events(self, job: str, *, after: str | None = None) -> Iterator[JobEvent]:
        """What happens to a job, until it ends; `after` is the id of the last event already seen."""
        headers = {} if after is None else {"Last-Event-ID": after}
        with self._open("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
            for fields in _events(line.decode().rstrip("\r\n") for line in answer):
                data = json.loads(fields["data"])
                yield JobEvent(fields.get("id", ""), data["kind"], data["step"], data["total"])

    def _json(
        self, method: str, path: str, body: Json | bytes | None = None, headers: dict[str, str] | None = None
    ) -> Json:
        with self._open(method, path, body, headers) as answer:
            value: Json = json.load(answer)
            return value

    @contextmanager
    def _open(
        self, method: str, path: str, body: Json | bytes | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[HTTPResponse]:
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers or {})  # noqa: S310  the caller's own URL
        if isinstance(body, bytes):
            request.data = body
        elif body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if self.key is not None:
            request.add_header("Authorization", f"Bearer {self.key}")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:  # noqa: S310  the caller's own URL
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error) from None


def _with_budget(fields: Json) -> Json:
    """The fields as the service takes them: those of the budget under that name."""
    budget = {name: value for name, value in fields.items() if name in _BUDGET and value is not None}
    others = {name: value for name, value in fields.items() if name not in _BUDGET}
    return {"budget": budget, **others} if budget else others


def _text(value: object) -> str:
    """A form's field: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _form(texts: dict[str, str], files: dict[str, bytes]) -> tuple[bytes, str]:
    """A form with files, and its content type."""
    boundary = uuid.uuid4().hex
    start = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{start}"{name}"\r\n\r\n{text}\r\n'.encode() for name, text in texts.items()]
    for name, data in files.items():
        head = f'{start}"{name}"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        parts += [head.encode(), data, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events: blocks of `name: value` lines; lines that begin with a colon keep the connection alive."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield fields
            fields = {}


def _refusal(error: urllib.error.HTTPError) -> PacerRefused:
    """Read either shape of error body: problem details, or OpenAI's error object."""
    raw = error.read()
    try:
        body = json.loads(raw)
    except ValueError:
        body = {}
    inner = body.get("error")
    if isinstance(inner, dict):
        kind, detail = str(inner.get("code")), str(inner.get("message"))
    else:
        kind, detail = str(body.get("type", "unknown")).rpartition("/")[2], str(body.get("detail", error.reason))
    wait = error.headers.get("Retry-After")
    return PacerRefused(error.code, kind, detail, float(wait) if wait is not None and wait.isdigit() else None)
