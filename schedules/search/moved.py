"""The equations of a few seeds: each number of the table is moved in turn.

Moving a number repeats the evaluations after it and none before it. All of what is seen has its derivative, so that few
seeds are enough, and wide moves look over the ripples of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add

import numpy as np
import torch
from torch import Tensor

from schedules.search.normal_equations import Equations, Part, drawn_parts, log_weights
from schedules.search.refine import Split
from schedules.search.rollout import roll_out
from schedules.search.table_numbers import TableNumbers
from schedules.table import FloatArray


def moved_cost(evaluations: int, done: int = 0) -> int:
    """Guided evaluations of one seed for a table with E of them: about E^3 / 6 + E^2.

    Args:
        evaluations: E.
        done: leading ones that stay as they are.
    """
    gains = sum((k + 2) * (evaluations - 1 - k) for k in range(max(0, done - 1), evaluations))
    return evaluations + gains + sum(2 * (evaluations - k) for k in range(done, evaluations))


def moved_equations(split: Split, numbers: TableNumbers, seeds: range, floor: float) -> Equations:
    """The equations of some seeds, at `moved_cost` each.

    Memory: E^2 / 2 + 3 E views of a final sample in float32 for each seed of a batch.

    Args:
        split: the seeds, and what is seen of their results.
        numbers: the table and which of its numbers may move.
        seeds: which of them.
        floor: as in `log_weights`.
    """
    parts = list(drawn_parts(split, numbers.table, seeds))
    weighted = zip(parts, log_weights(split, parts, floor), strict=True)
    return reduce(add, (_summed(split, numbers, part, weights) for part, weights in weighted))


def _summed(split: Split, numbers: TableNumbers, part: Part, weights: FloatArray) -> Equations:
    """The equations of a part, a mean over what is seen of each seed."""
    roots = torch.tensor(np.sqrt(weights / part.off.shape[1]), dtype=part.off.dtype, device=part.off.device)
    columns = part.off.new_empty((len(numbers.places), *part.off.shape))
    for place, each in enumerate(_derivatives(split, numbers, part)):
        columns[place] = each * roots[:, None]
    inner, right = np.zeros((len(columns),) * 2), np.zeros(len(columns))
    for column, off in zip(columns.unbind(1), part.off * roots[:, None], strict=True):
        wide = column.double()
        inner, right = inner + (wide @ wide.T).cpu().numpy(), right + (wide @ off.double()).cpu().numpy()
    return Equations(inner, -right)


def _derivatives(split: Split, numbers: TableNumbers, part: Part) -> Iterator[Tensor]:
    for place, step in numbers.steps():
        ahead = roll_out(part.problem, numbers.nudged(place, step), after=part.drawn)
        yield ((split.view(ahead.final) - part.seen) / step).flatten(1)
