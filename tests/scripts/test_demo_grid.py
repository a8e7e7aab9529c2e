"""The demonstration's picture: every cell in its place, the better caption in its colour."""

import numpy as np
from PIL import Image, ImageColor

from scripts.demo_grid import _CAPTION, _CELL, _GOOD, _GREY, _HEADER, Cell, Row, _lefts, draw_grid

COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


def sheet(*betters: bool, rows: int = 1) -> Image.Image:
    pictures = [np.tile(np.array(colour, dtype=np.uint8), (64, 64, 1)) for colour in COLOURS]
    cells = [Cell(pixels, "30.0 dB", better) for pixels, better in zip(pictures, betters, strict=True)]
    return draw_grid([Row("a prompt of some words that has to be wrapped", cells)] * rows, (4,), 50, 7)


def test_cells_stand_side_by_side_in_order() -> None:
    picture, middle = sheet(False, False, True), _HEADER + _CELL // 2
    for left, colour in zip(_lefts(1), COLOURS, strict=True):
        assert picture.getpixel((left + _CELL // 2, middle)) == colour


def test_a_row_more_makes_it_taller_and_no_wider() -> None:
    one, two = sheet(False, False, False), sheet(False, False, False, rows=2)
    assert two.size == (one.width, one.height + _CELL + _CAPTION)


def test_the_better_caption_is_green_and_the_others_are_grey() -> None:
    picture = sheet(False, False, True)
    top = _HEADER + _CELL + 1
    inks = [
        {colour for _, colour in picture.crop((left, top, left + _CELL, top + _CAPTION - 2)).getcolors(4096)}
        for left in _lefts(1)
    ]
    good, grey = ImageColor.getrgb(_GOOD), ImageColor.getrgb(_GREY)
    assert [good in ink for ink in inks] == [False, False, True]
    assert [grey in ink for ink in inks] == [True, True, False]
