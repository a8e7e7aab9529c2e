"""Express seats: fewer the more are taken, and the last ones for those in a hurry."""

from __future__ import annotations

import pytest

from pacer.control.express import Express


def test_each_eighth_that_is_taken_halves_the_time_within_which_a_promise_must_start() -> None:
    express = Express.beside(16, 60.0)
    assert express.seats == 8
    assert [express.starts_within_s(taken) for taken in range(9)] == [
        60,
        30,
        15,
        7.5,
        3.75,
        1.875,
        0.9375,
        0.46875,
        None,
    ]
    assert [Express.beside(32, 60.0).starts_within_s(taken) for taken in (0, 2, 14)] == [60, 30, 0.46875]


@pytest.mark.parametrize(("slots", "seats"), [(1, 1), (2, 1), (3, 2), (16, 8)])
def test_there_is_at_least_one_seat_beside_the_slots(slots: int, seats: int) -> None:
    express = Express.beside(slots, 60.0)
    assert express.seats == seats
    assert express.starts_within_s(0) == 60.0
    assert express.starts_within_s(seats) is None
    assert express.starts_within_s(seats + 1) is None, "a job may be claimed anew while it is here"
