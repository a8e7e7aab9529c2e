"""Grids by name, for whatever noise a model was trained on."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from schedules.grids import GRIDS, shifted
from schedules.noise import NoiseSchedule, VariancePreserving
from schedules.table import FloatArray
from schedules.vp_grids import DISTILLED_GRIDS, VP_GRIDS

Grid = Callable[[int], FloatArray]
"""From a step count to sigmas, shape (steps + 1,), float64."""

_SHIFT = re.compile(r"shift(\d{1,3}(?:\.\d{1,6})?)")


def grid_names(noise: NoiseSchedule) -> tuple[str, ...]:
    """The names of the grids that go with a noise.

    A flow's shift may be any number, as in shift3.5; those of distilled models are found without being among these.
    """
    return tuple(VP_GRIDS if isinstance(noise, VariancePreserving) else GRIDS)


def find_grid(name: str, noise: NoiseSchedule) -> Grid | None:
    """The grid of a name, or None where there is none for this noise."""
    if isinstance(noise, VariancePreserving):
        grid = VP_GRIDS.get(name) or DISTILLED_GRIDS.get(name)
        return None if grid is None else lambda steps: grid(steps, noise)
    if name in GRIDS:
        return GRIDS[name]
    shift = _SHIFT.fullmatch(name)
    return partial(shifted, shift=float(shift[1])) if shift is not None and float(shift[1]) > 0 else None
