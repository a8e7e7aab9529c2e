"""Headers are read as Pillow reads them, and nothing else is."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.picture_headers import Header, HeaderError, read_header


def file_of(mode: str, kind: str, size: tuple[int, int], **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


KINDS: list[tuple[str, str, dict[str, object], bool]] = [
    ("RGB", "PNG", {}, False),
    ("RGBA", "PNG", {}, True),
    ("LA", "PNG", {}, True),
    ("L", "PNG", {}, False),
    ("P", "PNG", {}, False),
    ("P", "PNG", {"transparency": 0}, True),
    ("RGB", "JPEG", {}, False),
    ("L", "JPEG", {"progressive": True}, False),
    ("RGB", "JPEG", {"exif": b"Exif\0\0" + b"x" * 500}, False),
    ("RGB", "WEBP", {}, False),
    ("RGB", "WEBP", {"lossless": True}, False),
    ("RGBA", "WEBP", {"lossless": True}, True),
    ("RGBA", "WEBP", {"exact": True}, True),
    ("RGB", "WEBP", {"exif": b"Exif\0\0x"}, False),
]


@pytest.mark.parametrize(("mode", "kind", "options", "has_alpha"), KINDS)
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (300, 1025)])
def test_a_header_says_format_size_and_transparency(
    mode: str, kind: str, options: dict[str, object], has_alpha: bool, size: tuple[int, int]
) -> None:
    image = Image.new(mode, size)
    if mode == "RGBA":
        image.putpixel((0, 0), (1, 2, 3, 128))  # else WebP leaves the channel out
    file = io.BytesIO()
    image.save(file, kind, **options)
    assert read_header(file.getvalue()) == Header(kind.lower(), *size, has_alpha)


@given(st.sampled_from(KINDS), st.integers(0, 60), st.binary(max_size=40))
def test_no_bytes_raise_anything_else(kind: tuple[str, str, dict[str, object], bool], cut: int, junk: bytes) -> None:
    data = file_of(kind[0], kind[1], (5, 4), **kind[2])
    for odd in (data[:cut], data[:cut] + junk, junk):
        try:
            header = read_header(odd)
        except HeaderError:
            continue
        assert header.width > 0
        assert header.height > 0


def test_what_is_no_image_is_told() -> None:
    for data in (b"", b"GIF89a" + b"\0" * 20, b"%PDF-1.7"):
        with pytest.raises(HeaderError, match="no PNG, JPEG or WebP"):
            read_header(data)
    with pytest.raises(HeaderError, match="0x4"):
        read_header(file_of("RGB", "PNG", (5, 4)).replace(b"\0\0\0\5\0\0\0\4", b"\0\0\0\0\0\0\0\4", 1))
