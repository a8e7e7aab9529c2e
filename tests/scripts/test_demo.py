"""The demonstration's figures: distances, means, and which picture is marked the better."""

import math

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from scripts.demo import BUDGETS, Comparison, Drawing, detail_table, grid_rows, mean_table, psnr_db, uniform


def drawing(level: int, schedule: str = "custom") -> Drawing:
    return Drawing(np.full((4, 4, 3), level, dtype=np.uint8), schedule, 0.25)


def comparison(uniform_level: int, optimised_level: int) -> Comparison:
    pair = (drawing(uniform_level), drawing(optimised_level, "shapes-64/pacer"))
    return Comparison("a prompt", drawing(100), dict.fromkeys(BUDGETS, pair))


def shown(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_psnr_is_that_of_8_bit_pixels() -> None:
    assert psnr_db(drawing(101), drawing(100)) == pytest.approx(20 * math.log10(255))
    assert psnr_db(drawing(0), drawing(255)) == 0  # no wrap-around of unsigned bytes
    assert psnr_db(drawing(7), drawing(7)) == math.inf


def test_the_uniform_schedule_is_evenly_spaced_euler() -> None:
    assert uniform(4) == {"sigmas": [1.0, 0.75, 0.5, 0.25, 0.0], "solver": "euler"}


def test_rows_hold_the_teacher_then_both_pictures_of_every_budget() -> None:
    (row,) = grid_rows([comparison(110, 101)])
    assert row.prompt == "a prompt"
    assert [cell.pixels[0, 0, 0] for cell in row.cells] == [100, *[110, 101] * len(BUDGETS)]
    assert [cell.better for cell in row.cells] == [False, *[False, True] * len(BUDGETS)]
    assert [cell.caption for cell in row.cells] == ["", *["28.1 dB", "48.1 dB"] * len(BUDGETS)]


def test_the_better_one_is_marked_whichever_it_is_and_neither_when_they_are_equal() -> None:
    worse, equal = grid_rows([comparison(101, 110), comparison(103, 103)])
    assert [cell.better for cell in worse.cells[1:3]] == [True, False]
    assert not any(cell.better for cell in equal.cells)


def test_means_and_gains_are_over_the_prompts() -> None:
    table = shown(mean_table([comparison(110, 101), comparison(101, 101)]))
    assert "over 2 prompts" in table
    assert table.count("38.1 dB") == table.count("48.1 dB") == table.count("+10.0 dB") == len(BUDGETS)


def test_the_details_name_schedule_and_latency() -> None:
    table = shown(detail_table([comparison(110, 101)]))
    assert table.count("shapes-64/pacer") == len(BUDGETS)
    assert table.count("250 ms") == 1 + 2 * len(BUDGETS)
