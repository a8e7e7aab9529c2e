"""Gauss and Newton's equations of a table's final error, in every number that may move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.rollout import Rollout, roll_out
from schedules.table import FloatArray, Table

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Equations:
    """Normal equations at a table, sums over seeds: curvature J' W J (P, P) and downhill slope -J' W r (P,)."""

    curvature: FloatArray
    downhill: FloatArray

    def __add__(self, other: Equations) -> Equations:
        return Equations(self.curvature + other.curvature, self.downhill + other.downhill)

    def after(self, step: FloatArray) -> Equations:
        """The same parabola seen from where the step leads."""
        return replace(self, downhill=self.downhill - self.curvature @ step)

    def curved_as(self, seen: FloatArray | float) -> Equations:
        """With a curvature that other rounds saw as well, scaled to the size of this one's."""
        size, own = np.trace(np.asarray(seen)), np.trace(self.curvature)
        return replace(self, curvature=seen * (own / size)) if size > 0 else self

    def step(self, damping: float) -> FloatArray:
        """Marquardt's (1963), with a share of the curvature added to it; numbers without any effect stay."""
        damped = self.curvature + damping * np.diag(np.diag(self.curvature))
        return np.asarray(np.linalg.lstsq(damped, self.downhill, rcond=None)[0])


@dataclass(frozen=True, eq=False)
class Part:
    """Some seeds of a split and what a table draws from them.

    Attributes:
        problem: the seeds.
        drawn: what the table draws.
        seen: what the split's view shows of it, shape (m, ...).
        off: how far that is from the target, shape (m, D).
        errors: mean squares of it, shape (m,).
    """

    problem: SearchProblem
    drawn: Rollout
    seen: Tensor
    off: Tensor
    errors: FloatArray


def drawn_parts(split: Split, table: Table, seeds: range) -> Iterator[Part]:
    """A range of a split's seeds, at most a batch at a time."""
    for start in range(seeds.start, seeds.stop, split.problem.batch):
        stop = min(start + split.problem.batch, seeds.stop)
        problem = split.problem.take(stop).drop(start)
        drawn = roll_out(problem, table)
        seen = split.view(drawn.final)
        off = (seen - split.target[start:stop]).flatten(1)
        yield Part(problem, drawn, seen, off, off.double().square().mean(1).cpu().numpy())


def log_weights(split: Split, parts: Sequence[Part], floor: float) -> Iterator[FloatArray]:
    """Each seed's weight, so that least squares goes down the mean logarithm of the errors, part by part.

    Args:
        split: its floor is the least that counts.
        parts: of the split.
        floor: errors below this share of the median one count as equal.
    """
    least = max(floor * float(np.median(np.concatenate([part.errors for part in parts]))), _TINY, split.floor)
    return (2 / (part.errors + least) for part in parts)
