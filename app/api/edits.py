"""POST /v1/images/edits: OpenAI's route, a picture redrawn under a budget."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.images import FAILURES, drawn
from app.auth import OwnerDep
from app.gateway import Gateway, GatewayDep
from app.multipart import Form, read_form
from app.pictures import Source, checked_source
from app.schemas.images import ImagesAnswer
from app.schemas.requests import EditsRequest
from pacer.errors import ErrorKind, PacerError

router = APIRouter(prefix="/v1/images", tags=["images"])

_FILES = frozenset({"image", "mask", "markup"})
_FILE = {"type": "string", "format": "binary"}
_DESCRIPTIONS = {
    "image": "the PNG, JPEG or WebP file to start from, of the size that is drawn",
    "mask": "a PNG or WebP file of the image's size with an alpha channel: what is transparent is repainted",
}


def _body_schema() -> dict[str, Any]:
    """The form, for the OpenAPI document."""
    schema = EditsRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    files = {name: {**_FILE, "description": said} for name, said in _DESCRIPTIONS.items()}
    # A form has texts: a list of objects comes as JSON.
    lora = {"type": "string", "description": "the name of one, or a list as in /v1/images/generations, as JSON"}
    return {
        **schema,
        "properties": {**files, **schema["properties"], "lora": lora},
        "required": ["image", *schema["required"]],
    }


@router.post(
    "/edits",
    response_model=ImagesAnswer,
    responses=FAILURES,
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _body_schema()}}}},
)
async def edit(request: Request, gateway: GatewayDep, owner: OwnerDep) -> ImagesAnswer | Response:
    """Redraw an image n times, or the part of it that a mask leaves transparent, and wait. Hanging up cancels them."""
    form = await read_form(request, _FILES)
    body = _fields(form)
    return await drawn(body, request, gateway, owner, _source(form, body, gateway))


def _fields(form: Form) -> EditsRequest:
    try:
        return EditsRequest.model_validate(form.fields)
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


def _source(form: Form, body: EditsRequest, gateway: Gateway) -> Source:
    if "markup" in form.files:
        raise _invalid("markup", "is not read here; say in the prompt what is to change, and in the mask where")
    image = _one(form, "image")
    if image is None:
        raise _invalid("image", "is required, as a file")
    return checked_source(
        image, _one(form, "mask"), "alpha", gateway.settings, strength=body.strength, resize=bool(body.resize)
    )


def _one(form: Form, name: str) -> bytes | None:
    files = form.files.get(name, [])
    if len(files) > 1:
        raise _invalid(name, f"one file, there are {len(files)}")
    return files[0] if files else None


def _invalid(field: str, detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)
