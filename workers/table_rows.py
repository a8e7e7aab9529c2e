"""The tables of the admitted requests, by slot, so that a step reads its rows in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from schedules.table import Table

_SMALLEST = 32  # evaluations and history columns that there is room for at first

_Item = TypeVar("_Item", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Rows:
    """One row of each of n tables.

    Attributes:
        weights: X[k], zero where a history has no column yet, shape (n, columns), float32.
        scale: c[k], shape (n,), float32.
        time: t[k], shape (n,), float32.
        guidance: g[k] at the caller's scale, shape (n,), float32.
        fresh: whether the unconditional output is evaluated, shape (n,).
        guided: whether one is mixed in, fresh or reused, shape (n,).
        columns: how many history columns are filled, and so where the output goes, shape (n,), int64.
        blended: whether a given picture is mixed into the state before the evaluation, shape (n,).
        originals: weights of that picture at this row's noise level over the first two columns, shape (n, 2), float32.
        blends: where what it adds to the state goes, shape (n,), int64.
        networks: which network evaluates the row, as the worker counts them, 0 for the model's own, shape (n,), int64.
    """

    weights: NDArray[np.float32]
    scale: NDArray[np.float32]
    time: NDArray[np.float32]
    guidance: NDArray[np.float32]
    fresh: NDArray[np.bool_]
    guided: NDArray[np.bool_]
    columns: NDArray[np.int64]
    blended: NDArray[np.bool_]
    originals: NDArray[np.float32]
    blends: NDArray[np.int64]
    networks: NDArray[np.int64]


class TableRows:
    """Tables in arrays on the host, one per slot, and the step that each is at.

    Args:
        slots: how many.
    """

    def __init__(self, slots: int) -> None:
        self._weights = np.zeros((slots, _SMALLEST, _SMALLEST), dtype=np.float32)
        self._numbers = np.zeros((3, slots, _SMALLEST), dtype=np.float32)  # c, t, g
        self._modes = np.zeros((2, slots, _SMALLEST), dtype=np.bool_)  # fresh, guided
        self._networks = np.zeros((slots, _SMALLEST), dtype=np.int64)
        self._steps = np.zeros(slots, dtype=np.int64)
        self._bases = np.zeros(slots, dtype=np.int64)
        self._masked = np.zeros(slots, dtype=np.bool_)
        self._originals = np.zeros((slots, _SMALLEST, 2), dtype=np.float32)

    def put(
        self, slot: int, table: Table, guidance_scale: float, networks: NDArray[np.int64] | int = 0, *, step: int = 0
    ) -> None:
        """Set a slot's table, with the network of each of its rows, shape (E,) or one, and go to one of its steps."""
        rows, columns = table.X.shape
        self._grow(rows, columns)
        for array in (self._weights[slot], self._numbers[:, slot], self._modes[:, slot], self._networks[slot]):
            array[...] = 0
        self._weights[slot, :rows, :columns] = table.X
        self._networks[slot, : rows - 1] = networks
        self._numbers[:, slot, : rows - 1] = table.c, table.t, table.guidance(guidance_scale)
        if guidance_scale != 1.0:
            self._modes[0, slot, : rows - 1] = [mode == "fresh" for mode in table.uncond]
            self._modes[1, slot, : rows - 1] = [mode != "skipped" for mode in table.uncond]
        self._steps[slot] = step
        self._bases[slot] = len(table.base)
        self._masked[slot] = table.original is not None
        if table.original is not None:
            self._originals[slot, :rows] = table.original

    def _grow(self, rows: int, columns: int) -> None:
        """At least double what is too short, so that growth stays rare."""
        have_rows, have_columns = self._weights.shape[1:]
        if rows > have_rows or columns > have_columns:
            rows = max(rows, 2 * have_rows) if rows > have_rows else have_rows
            columns = max(columns, 2 * have_columns) if columns > have_columns else have_columns
            self._weights = _padded(self._weights, (rows, columns))
            self._numbers = _padded(self._numbers, (rows,))
            self._modes = _padded(self._modes, (rows,))
            self._networks = _padded(self._networks, (rows,))
            self._originals = _padded(self._originals, (rows, 2))

    def at(self, slots: NDArray[np.int64]) -> Rows:
        """The rows of the steps that slots are at; of one that is done, its last."""
        steps = self._steps[slots]
        columns = self._bases[slots] + steps
        scale, time, guidance = self._numbers[:, slots, steps]
        fresh, guided = self._modes[:, slots, steps]
        weights = self._weights[slots, steps, : columns.max()]
        blended = self._masked[slots] & (steps > 0)  # the first state is made of the picture, or is noise alone
        originals, blends = self._originals[slots, steps], steps + 1
        networks = self._networks[slots, steps]
        return Rows(weights, scale, time, guidance, fresh, guided, columns, blended, originals, blends, networks)

    def step(self, slot: int) -> int:
        """The step that a slot is at, and so the evaluations that it has behind it."""
        return int(self._steps[slot])

    def advance(self, slots: NDArray[np.int64]) -> None:
        """Go on by one step."""
        self._steps[slots] += 1


def _padded(array: NDArray[_Item], shape: tuple[int, ...]) -> NDArray[_Item]:
    """Zeros added at the end of the last axes, until these have this shape."""
    kept = array.ndim - len(shape)
    grown = np.zeros((*array.shape[:kept], *shape), dtype=array.dtype)
    grown[tuple(map(slice, array.shape))] = array
    return grown
