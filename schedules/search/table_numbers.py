"""The free numbers of a table: what each evaluation adds to the sample, its net time and its guidance weight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from schedules.table import FloatArray, Table

Kind = Literal["time", "weight", "gain"]

TIME_STEP = 3e-3
"""A move of the net's time, wide enough to look over the ripples of its embedding, in units of the time scale."""

_GAIN_STEP, _WEIGHT_STEP = 2e-3, 2e-2
_LEAST_TIME = 1e-4


@dataclass(frozen=True, slots=True)
class Place:
    """One number.

    Attributes:
        kind: the time that the network is told, the guidance weight, or what a row adds of one column of the history.
        row: the evaluation that it belongs to; a gain of row k is part of x_(k + 1).
        column: of a gain.
    """

    kind: Kind
    row: int
    column: int = 0


@dataclass(frozen=True, eq=False)
class TableNumbers:
    """A table and which of its numbers may move.

    Attributes:
        table: the table, over one noise.
        places: the numbers, in the order in which they come into play.
        time_scale: the network's time at sigma 1.
        done: evaluations that were made already; the times after them fall on their own.
    """

    table: Table
    places: tuple[Place, ...]
    time_scale: float
    done: int = 0

    @classmethod
    def of(cls, table: Table, *, guided: bool, time_scale: float, timed: bool = True, done: int = 0) -> TableNumbers:
        """Every number: E (E + 3) / 2 gains, where guided the weight of each row that has one, where timed E times.

        Args:
            table: over one noise.
            guided: whether weights matter.
            time_scale: the network's time at sigma 1.
            timed: whether times may move.
            done: evaluations that were made already; what they took in, and so all before x_done, stays.

        Raises:
            ValueError: a table with further base latents.
        """
        if table.base != ("noise",):
            raise ValueError(f"base: only tables over one noise can move, this one has {table.base}")
        places: list[Place] = []
        for k, mode in enumerate(table.uncond):
            if timed and k >= done:
                places.append(Place("time", k))
            if guided and mode != "skipped" and k >= done:
                places.append(Place("weight", k))
            if k >= done - 1:
                places += [Place("gain", k, column) for column in range(k + 2)]
        return cls(table, tuple(places), time_scale, done)

    def steps(self) -> Iterator[tuple[Place, float]]:
        """Each number with a small move of it, to measure a derivative: times fall, as the first cannot rise."""
        sizes = {"time": -TIME_STEP, "weight": _WEIGHT_STEP, "gain": _GAIN_STEP}
        return ((place, sizes[place.kind]) for place in self.places)

    def nudged(self, place: Place, step: float) -> Table:
        """The table with one number moved; times in units of the time scale."""
        return self._changed([(place, step)])

    def moved(self, steps: FloatArray) -> Table | None:
        """The table with every number moved, bounds kept; None if its times no longer fall.

        Args:
            steps: one for each place, shape (P,).
        """
        table = self._changed(zip(self.places, steps.tolist(), strict=True))
        return table if (np.diff(table.t[self.done :]) < 0).all() else None

    def _changed(self, moves: Iterable[tuple[Place, float]]) -> Table:
        t, w, rows = self.table.t.copy(), self.table.w.copy(), self.table.X.copy()
        for place, step in moves:
            if place.kind == "time":
                t[place.row] += step * self.time_scale
            elif place.kind == "weight":
                w[place.row] += step
            else:
                rows[place.row + 1 :, place.column] += step
        t[self.done :] = np.clip(t[self.done :], _LEAST_TIME * self.time_scale, self.time_scale)
        return replace(self.table, t=t, w=np.maximum(w, 0.0), X=rows)
