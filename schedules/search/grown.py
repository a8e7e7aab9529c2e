"""A table with one evaluation more that draws the very same samples, for the descent to make something of.

The sampler of E evaluations lies within those of E + 1: the new evaluation is made between two others, and nothing
takes in what comes of it. So a budget that begins there is never worse than the one before, and the derivatives in the
new column say at once what it is good for. Closed-form fits know nothing of what the smaller budget's descent found,
and end below it from some length on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from schedules.table import FloatArray, Table, TableError, all_fresh

EVEN_SHIFT = 2.0
"""Shift of the grid that long searched samplers keep to: on it their intervals are about even."""


def grown(table: Table, time_scale: float) -> Table:
    """The table with an evaluation in the middle of its widest interval.

    Args:
        table: over one noise, guided on every row, on the model's own network.
        time_scale: the network's time at sigma 1.

    Raises:
        TableError: another table.
    """
    if table.base != ("noise",) or table.networks or set(table.uncond) != {"fresh"}:
        raise TableError("only tables over one noise, guided on every row, on one network, can grow")
    levels = np.append(table.t / time_scale, 0.0)
    place = widest(levels)
    middle = _to_level(_to_even(levels[place : place + 2]).mean())
    share = (levels[place] - middle) / (levels[place] - levels[place + 1])
    between = table.X[place] + share * (table.X[place + 1] - table.X[place])
    rows = np.insert(table.X, place + 1, between, axis=0)
    following = min(place + 1, table.evaluations_count - 1)
    return replace(
        table,
        t=np.insert(table.t, place + 1, middle * time_scale),
        c=np.insert(table.c, place + 1, table.c[place]),
        w=np.insert(table.w, place + 1, table.w[[place, following]].mean()),
        uncond=all_fresh(table.evaluations_count + 1),
        X=np.insert(rows, place + 2, 0.0, axis=1),
    )


def widest(levels: FloatArray) -> int:
    """The interval that is widest on the even scale.

    Args:
        levels: falling noise levels in 0..1, shape (E + 1,), the last 0.
    """
    return int(np.argmax(-np.diff(_to_even(levels))))


def _to_even(levels: FloatArray) -> FloatArray:
    """Levels as places on a grid of the shift, 1 at pure noise and 0 at the end."""
    return levels / (EVEN_SHIFT - (EVEN_SHIFT - 1) * levels)


def _to_level(place: float) -> float:
    return EVEN_SHIFT * place / (1 + (EVEN_SHIFT - 1) * place)
