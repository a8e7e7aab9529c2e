"""The demonstration's picture: one row per prompt; the teacher, then for each budget both schedules, with captions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CELL = 160
_GAP = 8
_GROUP_GAP = 28
_LABEL = 200
_MARGIN = 28
_HEADER = 116
_CAPTION = 30
_FOOTER = 44
_INK, _GREY, _GOOD, _PAPER = "#1b1f24", "#68707a", "#0a7d3b", "#ffffff"


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture, 8-bit RGB of shape (height, width, 3), and its caption; `better` sets the caption off."""

    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    caption: str
    better: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and its pictures: the teacher's, then uniform and optimised of each budget."""

    prompt: str
    cells: list[Cell]


def draw_grid(rows: Sequence[Row], budgets: Sequence[int], teacher_steps: int, seed: int) -> Image.Image:
    """Lay the rows out as one RGB picture."""
    lefts = _lefts(len(budgets))
    width = lefts[-1] + _CELL + _MARGIN
    height = _HEADER + len(rows) * (_CELL + _CAPTION) + _FOOTER
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _draw_header(pen, lefts, budgets, teacher_steps)
    for index, row in enumerate(rows):
        _draw_row(sheet, pen, row, lefts, _HEADER + index * (_CELL + _CAPTION))
    note = (
        f"dB: PSNR of the 8-bit picture to the teacher's ({teacher_steps} uniform Euler steps). Seed {seed} everywhere."
    )
    pen.text((_MARGIN, height - _FOOTER + 10), note, _GREY, _font(15))
    return sheet


def _lefts(budgets: int) -> list[int]:
    lefts = [_MARGIN + _LABEL]
    for _ in range(budgets):
        lefts.append(lefts[-1] + _CELL + _GROUP_GAP)
        lefts.append(lefts[-1] + _CELL + _GAP)
    return lefts


def _draw_header(pen: ImageDraw.ImageDraw, lefts: list[int], budgets: Sequence[int], teacher_steps: int) -> None:
    pen.text((_MARGIN, 18), "Same prompt, same seed, same number of steps; another schedule", _INK, _font(26))
    pen.text((lefts[0] + _CELL // 2, 76), "teacher", _INK, _font(18), anchor="ms")
    pen.text((lefts[0] + _CELL // 2, 102), f"{teacher_steps} steps", _GREY, _font(15), anchor="ms")
    for index, steps in enumerate(budgets):
        first, second = lefts[1 + 2 * index], lefts[2 + 2 * index]
        pen.text(((first + second + _CELL) // 2, 76), f"{steps} steps", _INK, _font(18), anchor="ms")
        pen.line((first, 83, second + _CELL, 83), _GREY)
        for left, name in ((first, "uniform"), (second, "optimised")):
            pen.text((left + _CELL // 2, 102), name, _GREY, _font(15), anchor="ms")


def _draw_row(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: Row, lefts: list[int], top: int) -> None:
    label = "\n".join(textwrap.wrap(row.prompt, 22))
    pen.multiline_text((_MARGIN, top + _CELL // 2), label, _INK, _font(16), anchor="lm", spacing=6)
    for left, cell in zip(lefts, row.cells, strict=True):
        picture = Image.fromarray(cell.pixels).resize((_CELL, _CELL), Image.Resampling.BICUBIC)
        sheet.paste(picture, (left, top))
        pen.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), outline="#c8ccd1")
        colour = _GOOD if cell.better else _GREY
        pen.text((left + _CELL // 2, top + _CELL + 19), cell.caption, colour, _font(16), anchor="ms")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
