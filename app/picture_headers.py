"""What an image file says of itself in its first bytes: format, size, transparency. Nothing is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pacer.jobs.messages import ImageFormat

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


class HeaderError(ValueError):
    """A file that is none of the formats, or whose header is cut off or odd."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file's header says.

    Attributes:
        image_format: of the file.
        width: pixels, at least 1.
        height: the same.
        has_alpha: whether its pixels may be transparent.
    """

    image_format: ImageFormat
    width: int
    height: int
    has_alpha: bool


def read_header(data: bytes) -> Header:
    """The header of a PNG, JPEG or WebP file.

    Raises:
        HeaderError: it is none, or its header is cut off or odd.
    """
    try:
        header = _header(data)
    except (struct.error, IndexError) as error:
        raise HeaderError("its header is cut off") from error
    if header.width < 1 or header.height < 1:
        raise HeaderError(f"its header says {header.width}x{header.height} pixels")
    return header


def _header(data: bytes) -> Header:
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(_JPEG):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    raise HeaderError("it is no PNG, JPEG or WebP file")


def _png(data: bytes) -> Header:
    """The header chunk comes first; a chunk of transparency before the pixels."""
    if data[12:16] != b"IHDR":
        raise HeaderError("its first chunk is no PNG header")
    width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
    return Header("png", width, height, colour_type in (4, 6) or _png_has_transparency(data))


def _png_has_transparency(data: bytes) -> bool:
    place = len(_PNG)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in (b"tRNS", b"IDAT"):
            return bool(kind == b"tRNS")
        place += 12 + length
    return False


def _jpeg(data: bytes) -> Header:
    """Segments follow each other until the one that describes the frame."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise HeaderError("its segments are no JPEG's")
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return Header("jpeg", width, height, has_alpha=False)
        place += 2 if marker in _JPEG_ALONE else 2 + struct.unpack_from(">H", data, place + 2)[0]


def _webp(data: bytes) -> Header:
    """One of three chunks: lossy, lossless, or extended."""
    kind = data[12:16]
    if kind == b"VP8X":
        flags, width, height = data[20], _int24(data, 24) + 1, _int24(data, 27) + 1
        return Header("webp", width, height, bool(flags & 0x10))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF, has_alpha=False)
    raise HeaderError("its first chunk is no WebP's")


def _int24(data: bytes, place: int) -> int:
    if place + 3 > len(data):
        raise HeaderError("its header is cut off")
    return int.from_bytes(data[place : place + 3], "little")
