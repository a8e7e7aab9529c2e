"""Where a picture enters a schedule: at a noise level, not at an index, so that a budget of N steps is N evaluations.

The stock way runs the last N s of N steps. Here the grid is the last N steps of as many as have N below the entry: the
very grid that the stock way would run, had it been asked for the number of steps that leaves N of them.
"""

from __future__ import annotations

import numpy as np

from schedules.grid_names import Grid, find_grid
from schedules.grids import MAX_STEPS, GridError
from schedules.noise import NoiseSchedule, VariancePreserving
from schedules.table import FloatArray


def entry_sigma(strength: float, noise: NoiseSchedule) -> float:
    """The noise level at which a picture enters.

    Args:
        strength: in (0, 1]; 1 is pure noise.
        noise: of the model. A flow enters at sigma = strength, an epsilon or v model at that share of its training
            times, which is where the stock way comes to with many steps.

    Raises:
        GridError: the strength is not that.
    """
    if not 0 < strength <= 1:
        raise GridError(f"strength: must be above 0 and at most 1, is {strength}")
    if not isinstance(noise, VariancePreserving):
        return strength * noise.sigma_max
    last = noise.log_sigmas.size - 1.0
    return float(noise.sigma(np.array([strength * last]))[0])


def enter(name: str, steps: int, start: float, noise: NoiseSchedule) -> FloatArray:
    """The last steps of a longer grid, so many that they begin at a noise level.

    Between two lengths of which one begins above it and one below, their levels are mixed.

    Args:
        name: of the grid, as find_grid has it.
        steps: how many, >= 1.
        start: where to begin, above 0.
        noise: of the model.

    Returns:
        Noise levels strictly falling from `start` to 0, shape (steps + 1,), float64.

    Raises:
        GridError: there is no such grid for this noise, or the steps or the start are outside of it.
    """
    grid = find_grid(name, noise)
    if grid is None:
        raise GridError(f"grid: there is no {name!r} for this noise")
    most = noise.log_sigmas.size if isinstance(noise, VariancePreserving) else MAX_STEPS
    whole = grid(steps)
    if not 0 < start <= whole[0] * (1 + 1e-9):
        raise GridError(f"start: must be above 0 and at most {whole[0]:g}, is {start:g}")
    if start >= whole[0]:
        return whole
    longer = _longest_above(grid, steps, start, most)
    above = grid(longer)[-steps - 1 :]
    if longer == most:  # so low that no grid has this many steps below it
        return np.asarray(above * (start / above[0]))
    below = grid(longer + 1)[-steps - 1 :]
    share = (above[0] - start) / (above[0] - below[0])
    mixed = (1 - share) * above + share * below
    mixed[0] = start
    return np.asarray(mixed)


def _longest_above(grid: Grid, steps: int, start: float, most: int) -> int:
    """The most steps of a grid whose last `steps` still begin at or above a level; they begin lower the more it has."""
    least = steps
    while least < most:
        middle = (least + most + 1) // 2
        if grid(middle)[-steps - 1] >= start:
            least = middle
        else:
            most = middle - 1
    return least
