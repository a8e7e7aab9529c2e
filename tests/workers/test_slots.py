"""The pool of histories: clean slots, exact combinations, growth that disturbs nobody."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.slots import SlotPool

SHAPE = (2, 3)
CPU = torch.device("cpu")


def bases(count: int = 1, value: float = 1.0) -> Tensor:
    return torch.full((count, *SHAPE), value)


def index(*slots: int) -> Tensor:
    return torch.tensor(slots)


def history(pool: SlotPool, slot: int, columns: int) -> Tensor:
    """A slot's columns, one at a time, as `combine` gives them."""
    return torch.stack([pool.combine(index(slot), row[None])[0] for row in torch.eye(columns)])


def test_a_slot_holds_its_base_latents_and_zeros() -> None:
    pool = SlotPool(2, SHAPE, CPU)
    drawn = torch.randn(2, *SHAPE)
    slot = pool.take(drawn, columns=5)
    assert torch.equal(history(pool, slot, 5), torch.cat([drawn, torch.zeros(3, *SHAPE)]))
    assert torch.equal(pool.unconditional(index(slot)), torch.zeros(1, *SHAPE))


def test_what_one_request_left_behind_never_meets_the_next() -> None:
    pool = SlotPool(1, SHAPE, CPU)
    slot = pool.take(bases(), columns=3)
    pool.write(index(slot), index(1), bases(value=float("nan")))
    pool.keep_unconditional(index(slot), bases(value=float("inf")))
    pool.give_back(slot)
    assert pool.take(bases(), columns=3) == slot
    # A zero coefficient does not hide a NaN.
    assert torch.equal(pool.combine(index(slot), torch.tensor([[2.0, 0.0, 0.0]])), bases(value=2.0))
    assert torch.equal(pool.unconditional(index(slot)), torch.zeros(1, *SHAPE))


def test_each_slot_has_a_combination_of_its_own() -> None:
    pool = SlotPool(3, SHAPE, CPU)
    first, second = (pool.take(bases(value=value), columns=3) for value in (1.0, 10.0))
    pool.write(index(second, first), index(2, 1), torch.stack([bases(value=30.0)[0], bases(value=2.0)[0]]))
    rows = torch.tensor([[1.0, 0.5, 0.0], [0.1, 0.0, 2.0]])
    mixed = pool.combine(index(first, second), rows)
    assert torch.allclose(mixed, torch.stack([bases(value=2.0)[0], bases(value=61.0)[0]]))


def test_unconditional_outputs_are_kept_by_slot() -> None:
    pool = SlotPool(2, SHAPE, CPU)
    first, second = (pool.take(bases(), columns=2) for _ in range(2))
    pool.keep_unconditional(index(second), bases(value=5.0))
    assert torch.equal(pool.unconditional(index(second, first)), torch.stack([bases(value=5.0)[0], torch.zeros(SHAPE)]))


def test_a_pool_that_grows_keeps_what_the_others_have() -> None:
    pool = SlotPool(2, SHAPE, CPU)
    short = pool.take(bases(value=3.0), columns=4)
    pool.write(index(short), index(3), bases(value=7.0))
    before = history(pool, short, 32)
    long = pool.take(bases(value=4.0), columns=200)
    pool.write(index(long), index(199), bases(value=8.0))
    assert torch.equal(history(pool, short, 32), before)
    assert torch.equal(pool.combine(index(long), torch.eye(200)[199:]), bases(value=8.0))


def test_no_slot_is_taken_twice_and_a_refused_request_takes_none() -> None:
    pool = SlotPool(1, SHAPE, CPU)
    with pytest.raises(RuntimeError):
        pool.take(torch.zeros(1, 5, 5), columns=2)
    assert pool.idle
    slot = pool.take(bases(), columns=2)
    assert not pool.idle
    with pytest.raises(ValueError, match="no slot is free"):
        pool.take(bases(), columns=2)
    pool.give_back(slot)
    assert pool.idle


@given(st.lists(st.booleans(), max_size=60))
def test_slots_in_use_differ_in_whatever_order_they_come_and_go(comings: list[bool]) -> None:
    pool, used = SlotPool(4, SHAPE, CPU), list[int]()
    for coming in comings:
        if coming and len(used) < 4:
            used.append(pool.take(bases(), columns=2))
        elif used:
            pool.give_back(used.pop(0))
        assert len(set(used)) == len(used)
        assert pool.idle == (not used)
