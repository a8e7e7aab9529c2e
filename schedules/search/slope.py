"""The gradient of the final error in every number of a table, by one pass back through its rollout.

Networks ripple in their time: the embedding of diffusers' models has sines of a period of 6 in 1000. The derivative
there says little of where the error falls, so each output is measured at an earlier time too, further off than that,
and the slope in time is what this difference is worth at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from schedules.search.problem import Field, SearchProblem
from schedules.search.table_numbers import TIME_STEP, TableNumbers
from schedules.table import FloatArray


def slope(problem: SearchProblem, numbers: TableNumbers, target: Tensor, *, floor: float) -> FloatArray:
    """The gradient of mean log(error + floor) over the seeds, errors being mean squares of latents.

    Takes 2 E evaluations of each seed, and E more where the network's activations are made again on the way back.
    Memory: 2 E + 1 latents for each seed of a batch, and the network's activations for one call.

    Args:
        problem: the seeds.
        numbers: the table, and which of its numbers count.
        target: what the teacher drew, shape (M, *latent).
        floor: of the errors, > 0.

    Returns:
        The gradient, shape (P,), one for each place.

    Raises:
        ValueError: the network lets no gradients through.
    """
    total = np.zeros(len(numbers.places))
    differentiable = problem.differentiable()
    for seeds in torch.arange(problem.seeds_count).split(problem.batch):
        total += _Backward(differentiable, numbers, seeds).gradient(target[seeds], floor)
    return total / problem.seeds_count


@dataclass(frozen=True, eq=False)
class _Called:
    """One call of a branch: its row, input and output."""

    row: int
    field: Field
    x: Tensor
    output: Tensor


class _Backward:
    """One batch of seeds, drawn with a graph behind it."""

    def __init__(self, problem: SearchProblem, numbers: TableNumbers, seeds: Tensor) -> None:
        self._problem, self._numbers, self._table, self._seeds = problem, numbers, numbers.table, seeds
        self._w = torch.tensor(self._table.w, requires_grad=True)
        self._rows = torch.tensor(self._table.X, requires_grad=True)
        self._called: list[_Called] = []

    def gradient(self, target: Tensor, floor: float) -> FloatArray:
        """Of the sum over the batch, shape (P,)."""
        errors = (self._final() - target).square().flatten(1).mean(1)
        (errors + floor).log().sum().backward()
        times = np.zeros(len(self._table.t))
        for called in self._called:
            times[called.row] += self._slope_in_time(called)
        w, rows = (np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for leaf in (self._w, self._rows))
        return self._numbers.gathered(times, w, rows)

    def _final(self) -> Tensor:
        history = [self._problem.noise[self._seeds]]
        negative: Tensor | None = None
        for k, mode in enumerate(self._table.uncond):
            x = float(self._table.c[k]) * _mix(self._rows[k], history)
            output = self._call(k, self._problem.conditional, x)
            if self._problem.unconditional is not None and self._problem.guided and mode != "skipped":
                if mode == "fresh" or negative is None:
                    negative = self._call(k, self._problem.unconditional, x)
                weight = 1.0 + self._w[k].to(x) * (self._problem.guidance_scale - 1.0)
                output = self._problem.combine(output, negative, weight)
            history.append(output)
        return _mix(self._rows[-1], history)

    def _call(self, row: int, field: Field, x: Tensor) -> Tensor:
        output = self._problem.branch(field, x, self._told(row), self._seeds)
        output.retain_grad()
        self._called.append(_Called(row, field, x.detach(), output))
        return output

    def _slope_in_time(self, called: _Called) -> float:
        """What the difference to an earlier time is worth at the end, in the time's own unit."""
        worth = called.output.grad
        move = min(TIME_STEP * self._numbers.time_scale, float(self._table.t[called.row]) / 2)
        if worth is None:
            return 0.0
        with torch.no_grad():
            before = self._problem.branch(called.field, called.x, self._told(called.row, -move), self._seeds)
        return float(((called.output.detach() - before) * worth).sum().double()) / move

    def _told(self, row: int, move: float = 0.0) -> Tensor:
        return torch.full((len(self._seeds),), float(self._table.t[row]) + move)


def _mix(row: Tensor, history: list[Tensor]) -> Tensor:
    row = row.to(history[0])
    x = row[0] * history[0]
    for weight, output in zip(row[1:], history[1:], strict=False):
        x = x + weight * output
    return x
