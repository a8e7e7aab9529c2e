"""Splices begin as what was begun, and come near to what would have been drawn from the start."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.newton import NewtonOptions
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.splicing import restarted, resumed, resumed_times, search_splice
from schedules.search.teacher import Teacher
from schedules.table import Table, TableError, common_rows


def table(steps: int, shift: float = 2.0) -> Table:
    return compile_table("unipc-2", shifted(steps, shift), "flow")


@pytest.fixture
def splits(calibration: SearchProblem, calibration_teacher: Teacher) -> tuple[Split, Split]:
    final = calibration_teacher.final
    return Split(calibration.take(40), final[:40]), Split(calibration.drop(40), final[40:])


@given(begun=st.integers(2, 12), steps=st.integers(2, 20), data=st.data())
def test_what_was_made_stays(begun: int, steps: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(1, min(begun, steps) - 1))
    first = table(begun)
    for spliced in (resumed(first, done, table(steps)), restarted(first, done, table(steps - done + 1))):
        assert spliced.evaluations_count == steps
        assert common_rows(first, spliced) >= done
        assert (np.diff(spliced.t[done:]) < 0).all()


def test_times_go_on_between_those_of_the_aim() -> None:
    aim = np.array([1.0, 0.8, 0.6, 0.4, 0.2])
    assert resumed_times(aim[:2], aim).tolist() == pytest.approx(aim.tolist())
    assert resumed_times(np.array([1.0, 0.6]), aim).tolist() == pytest.approx([1.0, 0.6, 0.45, 0.3, 0.15])


@pytest.mark.parametrize("done", [1, 2, 4])
def test_begun_anew_it_draws_what_the_aim_does(calibration: SearchProblem, done: int) -> None:
    aim = table(6)
    spliced = restarted(table(9, 3.0), done, aim)
    torch.testing.assert_close(roll_out(calibration, spliced).final, roll_out(calibration, aim).final)


@pytest.mark.parametrize(("begun", "done", "steps"), [(4, 1, 8), (5, 2, 9), (10, 3, 6)])
def test_the_search_gains_on_either_start(splits: tuple[Split, Split], begun: int, done: int, steps: int) -> None:
    aims = table(steps), table(steps - done + 1)
    options = NewtonOptions(rounds=(40, 40), many=(40,))
    found = search_splice(table(begun), done, aims, splits, options)
    starts = resumed(table(begun), done, aims[0]), restarted(table(begun), done, aims[1])
    validation = splits[1]
    least = min(validation.error(roll_out(validation.problem, each).final, log=True) for each in starts)
    assert common_rows(table(begun), found.table) >= done
    assert found.validation_error < 0.5 * least


def test_a_longer_search_goes_on_from_what_was_found(splits: tuple[Split, Split]) -> None:
    begun, aims = table(8), (table(5), table(4))
    short = search_splice(begun, 2, aims, splits, NewtonOptions(rounds=(), many=(40,)))
    longer = search_splice(begun, 2, aims, splits, NewtonOptions(rounds=(), many=(40, 40)), found=short.table)
    assert common_rows(begun, longer.table) >= 2
    assert longer.validation_error < 0.95 * short.validation_error


@pytest.mark.parametrize("found", [table(5), resumed(table(8), 2, table(6))])
def test_what_was_found_must_be_a_splice_of_the_same(splits: tuple[Split, Split], found: Table) -> None:
    with pytest.raises(ValueError, match="found: must begin with the 2 rows"):
        search_splice(table(8), 2, (table(5), table(4)), splits, found=found)


@pytest.mark.parametrize("done", [0, 4, 6])
def test_something_must_be_made_and_something_left(done: int) -> None:
    with pytest.raises(ValueError, match="must be in 1"):
        resumed(table(4), done, table(6))


def test_only_rows_that_are_all_alike_are_spliced() -> None:
    mixed = replace(table(4), uncond=("fresh", "reused", "fresh", "fresh"))
    with pytest.raises(TableError, match="aim: only tables over one noise"):
        resumed(table(3), 1, mixed)
