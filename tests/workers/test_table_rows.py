"""Tables by slot: each step reads the row that it is at, whatever the neighbours' lengths."""

import numpy as np

from tests.workers.test_runner import table
from workers.table_rows import TableRows


def at(*slots: int) -> np.ndarray:
    return np.array(slots, dtype=np.int64)


def test_slots_at_different_steps_give_their_own_rows() -> None:
    rows = TableRows(3)
    short, long = table(3, modes=("fresh", "reused", "skipped")), table(70)  # longer than there is room for at first
    rows.put(0, short, 2.0)
    rows.put(2, long, 1.0)
    for step in range(3):
        found = rows.at(at(2, 0))
        assert found.columns.tolist() == [1 + step, 1 + step]
        assert np.array_equal(found.weights[0], long.X[step, : 1 + step].astype(np.float32))
        assert np.array_equal(found.weights[1], short.X[step, : 1 + step].astype(np.float32))
        assert found.time.tolist() == [np.float32(long.t[step]), np.float32(short.t[step])]
        assert found.guidance.tolist() == [1.0, (2.0, 2.0, 1.0)[step]]
        assert found.fresh.tolist() == [False, step == 0]
        assert found.guided.tolist() == [False, step < 2]
        rows.advance(at(0, 2))
    rows.advance(at(2))
    found = rows.at(at(0, 2))
    assert found.columns.tolist() == [4, 5]
    assert np.array_equal(found.weights[0], np.append(short.X[3], 0).astype(np.float32)), "the result, once it is done"


def test_a_slot_forgets_its_last_table() -> None:
    rows = TableRows(1)
    rows.put(0, table(50), 3.0)
    rows.advance(at(0))
    rows.put(0, table(2), 1.0)
    found = rows.at(at(0))
    assert found.columns.tolist() == [1]
    assert not found.guided.any()
    rows.advance(at(0))
    rows.advance(at(0))
    assert np.array_equal(rows.at(at(0)).weights[0], table(2).X[2].astype(np.float32))
