"""Coefficients in closed form where guidance is not evaluated at every row.

As in `fit`, each row is a ridge regression on the student's own rollout. Here the conditional output and the guided one
are two regressors of the row that is being made: their sum is what the row adds, the guided one's share its guidance
weight. So a row that combines with an old unconditional output learns how far to trust it, and later rows can tell the
two branches apart by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from schedules.compile.adams import adams_weights
from schedules.search.fit import FitOptions
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher
from schedules.table import OWN, FloatArray, Table, UncondMode

LARGEST_WEIGHT = 3.0
"""Most relative guidance weight of a fitted row; what regression asks beyond it is noise."""

_FORMULA_ORDER = 3


class Choice(NamedTuple):
    """What a row evaluates: the unconditional branch or not, and which network."""

    mode: UncondMode
    network: str = OWN


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A student after its first k rows.

    Attributes:
        choices: of these rows, length k.
        weights: their relative guidance weights, length k.
        rows: X of the table so far, shape (k + 1, k + 1).
        history: the noise and the outputs, k + 1 tensors of shape (M, *latent).
        negative: the last unconditional output.
    """

    choices: tuple[Choice, ...]
    weights: tuple[float, ...]
    rows: FloatArray
    history: tuple[Tensor, ...]
    negative: Tensor | None

    @property
    def x(self) -> Tensor:
        """x_k."""
        return sum((float(a) * h for a, h in zip(self.rows[-1], self.history, strict=True)), self.history[0] * 0)


class PlacedFit:
    """Fits tables on one grid, for any modes and networks; tables that begin alike share their evaluations.

    Args:
        problem: the calibration seeds.
        teacher: their trajectories.
        sigmas: noise levels falling from at most 1 to 0, shape (rows + 1,), float64.
        options: the regression's; its order counts earlier outputs too.

    Attributes:
        spent: forwards of the network so far, all seeds together; of smaller ones what they cost, rounded.
    """

    def __init__(
        self, problem: SearchProblem, teacher: Teacher, sigmas: FloatArray, options: FitOptions | None = None
    ) -> None:
        self._problem, self._teacher, self._sigmas = problem, teacher, sigmas
        self._options = options or FitOptions()
        self.spent = 0
        start = _Drawn((), (), np.ones((1, 1)), (problem.noise,), None)
        self._known: dict[tuple[Choice, ...], _Drawn] = {(): start}
        self._outputs: dict[tuple[tuple[Choice, ...], str, str], Tensor] = {}

    def table(self, modes: Sequence[UncondMode], networks: Sequence[str] = ()) -> Table:
        """The fitted table with one mode and one network for each row, the model's own if none are given.

        Raises:
            ValueError: modes and grid of different lengths, a row that has nothing to reuse, or no such network.
        """
        count = len(self._sigmas) - 1
        if len(modes) != count:
            raise ValueError(f"modes: must be {count}, one for each row of the grid, are {len(modes)}")
        drawn = self._drawn(tuple(map(Choice, modes, networks or (OWN,) * count)))
        t = self._problem.time_scale * self._sigmas[:-1]
        rows = np.zeros((count + 1, count + 1))
        rows[:] = drawn.rows
        return Table(
            t=t, c=np.ones(count), w=np.array(drawn.weights), uncond=tuple(modes), X=rows, networks=tuple(networks)
        )

    def _drawn(self, choices: tuple[Choice, ...]) -> _Drawn:
        if choices not in self._known:
            self._known[choices] = self._advanced(self._drawn(choices[:-1]), choices[-1])
        return self._known[choices]

    def _advanced(self, before: _Drawn, choice: Choice) -> _Drawn:
        """One more row."""
        x, k = before.x, len(before.choices)
        conditional = self._branch(choice.network, "conditional", before, x)
        negative = self._unconditional(before, choice, x)
        guided = None if choice.mode == "skipped" or negative is None else negative
        weight, output = self._weighted(before, x, conditional, guided)
        gains, scale = self._gains(before, x, (output,), k)
        rows = np.zeros((k + 2, k + 2))
        rows[:-1, :-1] = before.rows
        rows[-1, :-1] = scale * before.rows[-1]
        rows[-1, k + 2 - len(gains) :] += gains[::-1]
        return _Drawn((*before.choices, choice), (*before.weights, weight), rows, (*before.history, output), negative)

    def _unconditional(self, before: _Drawn, choice: Choice, x: Tensor) -> Tensor | None:
        """The unconditional output to combine with, and to keep."""
        if choice.mode == "fresh" and self._problem.guided:
            return self._branch(choice.network, "unconditional", before, x)
        if choice.mode == "reused" and self._problem.guided and before.negative is None:
            raise ValueError(f"modes: row {len(before.choices)} has nothing to reuse")
        return before.negative

    def _branch(self, network: str, name: str, before: _Drawn, x: Tensor) -> Tensor:
        key = before.choices, network, name
        if key not in self._outputs:
            t = torch.full((len(x),), self._problem.time_scale * float(self._sigmas[len(before.choices)]))
            branches = self._problem.network(network)
            self._outputs[key] = self._problem.branch(getattr(branches, name), x, t, torch.arange(len(x)))
            self.spent += round(branches.cost * len(x))
        return self._outputs[key]

    def _weighted(
        self, before: _Drawn, x: Tensor, conditional: Tensor, negative: Tensor | None
    ) -> tuple[float, Tensor]:
        """The guidance weight that the regression likes best, and the output with it."""
        if negative is None:
            return (0.0 if self._problem.guided else 1.0), conditional
        scale = self._problem.guidance_scale
        full = self._problem.combine(conditional, negative, scale)
        gains, _ = self._gains(before, x, (full, conditional), len(before.choices))
        whole = gains[0] + gains[1]
        weight = float(np.clip(gains[0] / whole, 0.0, LARGEST_WEIGHT)) if abs(whole) > 1e-12 else 1.0
        return weight, self._problem.combine(conditional, negative, 1.0 + weight * (scale - 1.0))

    def _gains(self, before: _Drawn, x: Tensor, latest: tuple[Tensor, ...], k: int) -> tuple[FloatArray, float]:
        """The weights of the latest regressors and of earlier outputs, newest first, and the scale of x_k."""
        earlier = min(self._options.order - 1, k)
        columns = [*latest, *(before.history[k - j] for j in range(earlier))]
        formula = np.zeros(len(columns) + self._options.scales_state)
        adams = adams_weights(self._sigmas[: k + 2], min(earlier + 1, _FORMULA_ORDER))
        formula[0] = adams[0]
        formula[len(latest) : len(latest) + len(adams) - 1] = adams[1:]
        if self._options.scales_state:
            columns.append(x)
        target = self._teacher.state_at(float(self._sigmas[k + 1])) - x
        found = self._regress(torch.stack(columns), target, formula)
        return (found[:-1], 1.0 + float(found[-1])) if self._options.scales_state else (found, 1.0)

    def _regress(self, columns: Tensor, target: Tensor, formula: FloatArray) -> FloatArray:
        """Ridge regression shrunk to the formula, shape (n,)."""
        flat, wanted = columns.flatten(1).double(), target.flatten().double()
        gram = (flat @ flat.T).cpu().numpy() / wanted.numel()
        right = (flat @ wanted).cpu().numpy() / wanted.numel()
        pull = self._options.ridge * float(np.trace(gram)) / len(gram)
        return np.asarray(np.linalg.solve(gram + pull * np.eye(len(gram)), right + pull * formula))
