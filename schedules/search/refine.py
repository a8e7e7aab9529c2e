"""Continuous refinement of a grid for any solver: derivative-free moves of the log-gaps on the true final error.

The gaps between the noise levels are a softmax of their logarithms. A coordinate is a cosine over the gaps: the first
shifts steps from the beginning to the end, the second from the ends to the middle, and so on; with few steps they span
every grid, with many they keep it smooth and the search short. A move is kept if the calibration seeds' final error
falls; after each sweep the validation seeds say whether that was learning or over-fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from schedules.interpolate import grid_of
from schedules.search.evaluate import pooled_error, seed_errors
from schedules.search.problem import SearchProblem
from schedules.search.rollout import Rollout, roll_out
from schedules.table import FloatArray, Table

Compile = Callable[[FloatArray], Table]
"""From noise levels to the table of one solver."""

Draw = Callable[[FloatArray, Rollout | None], Rollout]
"""From noise levels to what their sampler draws on the calibration seeds; an earlier rollout may lend its outputs."""

LEAST_GAP = 1e-4
"""Least gap between two noise levels in a search, relative to the largest."""


@dataclass(frozen=True, eq=False)
class Split:
    """Seeds with their teacher's results, and where the two are compared.

    Attributes:
        problem: the seeds.
        target: what the teacher drew, as `view` shows it, shape (M, ...).
        view: from final samples (M, *latent) to what is compared: themselves, or decoded pictures.
        floor: squared errors below this mean nothing in the view.
    """

    problem: SearchProblem
    target: Tensor
    view: Callable[[Tensor], Tensor] = lambda final: final
    floor: float = 1e-12

    def take(self, count: int) -> Split:
        """The first `count` seeds only."""
        return replace(self, problem=self.problem.take(count), target=self.target[:count])

    def errors(self, final: Tensor) -> FloatArray:
        """Each seed's error, shape (M,)."""
        return seed_errors(self.view(final), self.target)

    def error(self, final: Tensor, *, log: bool) -> float:
        """The pooled error of final samples, shape (M, *latent)."""
        return pooled_error(self.view(final), self.target, log=log, floor=self.floor)


@dataclass(frozen=True, slots=True)
class RefineOptions:
    """Switches of the refinement.

    Attributes:
        evaluations: network evaluations to spend on each calibration seed.
        modes: most cosine coordinates.
        step: first move in units of a log-gap.
        least_step: moves below this end the search.
        patience: sweeps without gain on the validation seeds that end the search.
        log: pool errors by the geometric mean.
        free_start: let the first noise level move too.
    """

    evaluations: int = 60
    modes: int = 6
    step: float = 0.3
    least_step: float = 0.02
    patience: int = 2
    log: bool = False
    free_start: bool = False


@dataclass(frozen=True, eq=False)
class Refined:
    """The grid that was best on the validation seeds.

    Attributes:
        sigmas: its noise levels, shape (steps + 1,), float64.
        table: the sampler over them.
        calibration_error: pooled final error on the calibration seeds.
        validation_error: pooled final error on the validation seeds.
        evaluations: network evaluations spent on each calibration seed.
    """

    sigmas: FloatArray
    table: Table
    calibration_error: float
    validation_error: float
    evaluations: int


def grid_errors(split: Split, grids: Iterable[FloatArray], compile_table: Compile, *, log: bool = False) -> list[float]:
    """The pooled final error of each grid on a split; evaluations that grids have in common are made once."""
    errors, latest = [], None
    for sigmas in grids:
        latest = roll_out(split.problem, compile_table(sigmas), after=latest)
        errors.append(split.error(latest.final, log=log))
    return errors


def refine(
    sigmas: FloatArray,
    compile_table: Compile,
    calibration: Split,
    validation: Split,
    options: RefineOptions | None = None,
) -> Refined:
    """Move a grid to a lower final error on the calibration seeds, as long as the validation seeds agree.

    Args:
        sigmas: falling noise levels ending in 0, shape (steps + 1,).
        compile_table: the solver.
        calibration: decides about each move.
        validation: decides which sweep's grid is returned, the unmoved one included.
        options: the switches.

    Raises:
        ValueError: levels that do not fall to 0.
    """

    def draw(levels: FloatArray, after: Rollout | None) -> Rollout:
        return roll_out(calibration.problem, compile_table(levels), after=after)

    return refine_drawn(sigmas, draw, calibration, validation, options)


def refine_drawn(
    sigmas: FloatArray,
    draw: Draw,
    calibration: Split,
    validation: Split,
    options: RefineOptions | None = None,
) -> Refined:
    """The same for samplers that are more than a formula: `draw` makes the table on the calibration seeds.

    Raises:
        ValueError: levels that do not fall to 0.
    """
    if (np.diff(sigmas) >= 0).any() or sigmas[-1] != 0:
        raise ValueError("sigmas: must fall strictly and end in 0 to be refined")
    return _Refinement(sigmas, draw, calibration, validation, options or RefineOptions()).run()


def cosine_modes(steps: int, count: int) -> FloatArray:
    """Orthogonal zero-sum directions over the gaps, root mean square 1, shape (min(count, steps - 1), steps)."""
    places = (np.arange(steps) + 0.5) / steps
    return np.array([np.sqrt(2) * np.cos(np.pi * m * places) for m in range(1, min(count, steps - 1) + 1)]).reshape(
        -1, steps
    )


class _Refinement:
    """The coordinate search; a point is (log-gaps, log of the start)."""

    def __init__(
        self, sigmas: FloatArray, draw: Draw, calibration: Split, validation: Split, options: RefineOptions
    ) -> None:
        self._draw, self._options = draw, options
        self._calibration, self._validation = calibration, validation
        self._steps = len(sigmas) - 1
        self._spent = 0
        self._latest: Rollout | None = None
        self._point = np.append(np.log(np.maximum(-np.diff(sigmas) / sigmas[0], LEAST_GAP)), np.log(sigmas[0]))
        self._value, drawn = self._measure(sigmas)
        self._best = drawn.table
        self._best_sigmas = sigmas
        directions = [np.append(mode, 0.0) for mode in cosine_modes(self._steps, options.modes)]
        if options.free_start:
            directions.append(np.append(np.zeros(self._steps), 0.1))  # the start moves by a tenth of a log-gap
        self._directions = directions

    def run(self) -> Refined:
        best = self._refined()
        moves = [self._options.step] * len(self._directions)
        idle = 0
        while self._directions and idle < self._options.patience and self._can_afford() and self._wide(moves):
            moves = [self._search_along(d, h) for d, h in zip(self._directions, moves, strict=True)]
            found = self._refined()
            idle = 0 if found.validation_error < best.validation_error else idle + 1
            best = found if idle == 0 else best
        return best

    def _wide(self, moves: list[float]) -> bool:
        return max(abs(move) for move in moves) >= self._options.least_step

    def _can_afford(self) -> bool:
        return self._spent + self._steps <= self._options.evaluations

    def _search_along(self, direction: FloatArray, step: float) -> float:
        """Try both ways, then the vertex of the parabola through the three errors; returns the next step to try."""
        if abs(step) < self._options.least_step or not self._can_afford():
            return step
        origin, middle = self._point, self._value
        ahead = self._try(origin + step * direction)
        if not self._can_afford():
            return step
        back = self._try(origin - step * direction)
        vertex = _vertex(back, middle, ahead)
        if vertex is not None and abs(vertex) > 0.1 and self._can_afford():
            self._try(origin + vertex * step * direction)
        moved = float(np.abs(self._point - origin).max() / np.abs(direction).max())
        return max(moved, abs(step) / 2) if moved else step / 3

    def _try(self, point: FloatArray) -> float:
        """The error at a point; the search moves there if it is the least so far."""
        if point[-1] > 0:  # the start cannot lie above pure noise
            return float("inf")
        sigmas = self._sigmas(point)
        value, drawn = self._measure(sigmas)
        if value < self._value:
            self._point, self._value = point, value
            self._best, self._best_sigmas = drawn.table, sigmas
        return value

    def _measure(self, sigmas: FloatArray) -> tuple[float, Rollout]:
        self._latest = self._draw(sigmas, self._latest)
        self._spent += self._latest.evaluated
        return self._calibration.error(self._latest.final, log=self._options.log), self._latest

    def _sigmas(self, point: FloatArray) -> FloatArray:
        gaps = np.exp(point[:-1] - point[:-1].max())
        return grid_of(np.maximum(gaps, LEAST_GAP), float(np.exp(point[-1])))

    def _refined(self) -> Refined:
        drawn = roll_out(self._validation.problem, self._best)
        validation = self._validation.error(drawn.final, log=self._options.log)
        return Refined(self._best_sigmas, self._best, self._value, validation, self._spent)


def _vertex(back: float, middle: float, ahead: float) -> float | None:
    """Where the parabola through (-1, back), (0, middle), (1, ahead) is least, within -2..2; None if it opens down."""
    bend = back - 2 * middle + ahead
    if not np.isfinite(bend) or bend <= 0:
        return None
    return float(np.clip((back - ahead) / (2 * bend), -2, 2))
