"""The picture that a request starts from: its files, checked by their headers; a worker decodes them."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TypeVar

from app.picture_headers import Header, HeaderError, read_header
from app.schemas.requests import DrawFields, PictureFields
from pacer.control.budget_request import PictureEntry
from pacer.errors import ErrorKind, PacerError
from pacer.jobs.messages import MaskKind, PictureFiles, PictureInput
from pacer.models import ModelCard
from pacer.settings import Settings

UNMASKED_STRENGTH = 0.8
"""The strength of a request that names none: most of the picture changes, its layout stays."""

MASKED_STRENGTH = 1.0
"""The same with a mask: what is repainted shows nothing of what was there."""

_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_Fields = TypeVar("_Fields", bound=DrawFields)


@dataclass(frozen=True, slots=True)
class Source:
    """A picture to start from.

    Attributes:
        files: its bytes and its mask's.
        header: what the image's says; the mask has its size.
        mask: what the mask says with, if there is one.
        strength: the caller's; None where none was given.
        resize: whether it may be scaled.
    """

    files: PictureFiles
    header: Header
    mask: MaskKind | None
    strength: float | None
    resize: bool

    def entry(self, *, sigmas_given: bool) -> PictureEntry:
        """What planning needs of it; a caller's sigmas say themselves where it enters."""
        masked = self.mask is not None
        default = None if sigmas_given else MASKED_STRENGTH if masked else UNMASKED_STRENGTH
        return PictureEntry(default if self.strength is None else self.strength, masked)

    def said(self) -> PictureInput:
        """What the job says of it."""
        return PictureInput(self.header.width, self.header.height, self.mask, self.resize, self.strength)


def source_of(body: PictureFields, settings: Settings) -> Source | None:
    """The picture of a JSON body, where white of the mask is repainted; None where it has none.

    Raises:
        PacerError: invalid_request or body_too_large, blaming the field.
    """
    mask = None if body.mask is None else _decoded("mask", body.mask)
    if body.image is None:
        for name in ("mask", "strength", "resize"):
            if getattr(body, name) is not None:
                raise _invalid(name, "means nothing without an image; give one")
        return None
    return checked_source(
        _decoded("image", body.image), mask, "white", settings, strength=body.strength, resize=bool(body.resize)
    )


def checked_source(
    image: bytes, mask: bytes | None, kind: MaskKind, settings: Settings, *, strength: float | None, resize: bool
) -> Source:
    """A picture from the bytes of its files.

    Raises:
        PacerError: invalid_request or body_too_large, blaming the field.
    """
    header = _header("image", image, settings)
    if mask is None:
        return Source(PictureFiles(image), header, None, strength, resize)
    of_mask = _header("mask", mask, settings)
    if (of_mask.width, of_mask.height) != (header.width, header.height):
        raise _invalid("mask", f"is {_size(of_mask)}, the image is {_size(header)}; they must be of one size")
    if kind == "alpha" and not of_mask.has_alpha:
        raise _invalid("mask", "has no alpha channel; what is to be repainted must be transparent in it (PNG or WebP)")
    return Source(PictureFiles(image, mask), header, kind, strength, resize)


def sized(fields: _Fields, source: Source, card: ModelCard) -> _Fields:
    """The fields with a size: the picture's own, unless it is to be scaled.

    Raises:
        PacerError: invalid_request: the picture is of a size that is not drawn, and nobody said that it be scaled.
    """
    header = source.header
    if source.resize:
        return fields
    if fields.size in (None, "auto"):
        if not card.allows(header.width, header.height):
            raise _invalid("image", f"is {_size(header)}, {card.id} draws {card.sizes}; set resize to have it scaled")
        return fields.model_copy(update={"size": _size(header)})
    if fields.size != _size(header):
        raise _invalid("image", f"is {_size(header)} and size says {fields.size}; set resize to have it scaled")
    return fields


def _decoded(field: str, text: str) -> bytes:
    """Base64, plain or in a data: URL."""
    start = _DATA_URL.match(text)
    if text.startswith("data:") and start is None:
        raise _invalid(field, "a data: URL must begin with data:image/TYPE;base64,")
    if text.startswith(("http://", "https://")):
        raise _invalid(field, "must be base64 or a data: URL; nothing is fetched from other addresses")
    try:
        return base64.b64decode(text[start.end() :] if start else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(field, f"must be base64 or a data: URL: {error}") from error


def _header(field: str, data: bytes, settings: Settings) -> Header:
    most = settings.max_image_bytes
    if len(data) > most:
        detail = f"{field}: may have at most {most} bytes, has {len(data)}"
        raise PacerError(ErrorKind.body_too_large, detail, field=field)
    try:
        header = read_header(data)
    except HeaderError as error:
        raise _invalid(field, f"must be a PNG, JPEG or WebP file: {error}") from error
    if header.width * header.height > settings.max_image_pixels:
        raise _invalid(field, f"may have at most {settings.max_image_pixels} pixels, is {_size(header)}")
    return header


def _size(header: Header) -> str:
    return f"{header.width}x{header.height}"


def _invalid(field: str, detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"{field}: {detail}", field=field)
