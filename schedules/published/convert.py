"""From a published table to a grid or a sampler in flow coordinates.

A table belongs to the model, resolution and guidance that it was searched on (`PublishedTables.validity`). On any other
model, and above all after the change of coordinates from an epsilon model to a flow, it is an ordinary guess at a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schedules.compile import compile_table
from schedules.grids import MAX_STEPS
from schedules.noise import FLOW
from schedules.published.tables import Coefficients, PublishedError, PublishedTables, tables
from schedules.table import FloatArray, Table, all_fresh


@dataclass(frozen=True, slots=True, eq=False)
class PublishedGrid:
    """A published table as a grid for a flow model.

    Attributes:
        sigmas: noise levels, strictly falling to 0, shape (steps + 1,), float64.
        native: whether exactly this number of steps was published; False where another's was interpolated.
        of: the number of steps of the table that was used.
        tables: the family, with its model, validity and sources.
    """

    sigmas: FloatArray
    native: bool
    of: int
    tables: PublishedTables


def published(name: str, steps: int, *, start: float | None = None) -> PublishedGrid:
    """A published grid, for any number of steps.

    A table of this length is taken as it is; else the nearest one (the longer of two) is stretched log-linearly in its
    own coordinates, as users do. Ratios of noise to data r become sigma = r / (1 + r). The last level, which a table
    gives as its model's least sigma, is set to 0, as those who use the tables do.

    Args:
        name: a family, one of `names()`.
        steps: 1 to 1000; of a family with coefficients one of its own.
        start: noise level to begin at instead of the table's, at most 1. An epsilon model's pure noise is a ratio of
            about 14.6, which becomes sigma 0.936; a flow's is 1.

    Raises:
        PublishedError: no such family, steps or start; the message says what is allowed.
    """
    family = tables(name)
    if not 1 <= steps <= MAX_STEPS:
        raise PublishedError(f"steps: must be from 1 to {MAX_STEPS}, is {steps}")
    of = min(family.budgets, key=lambda budget: (abs(budget - steps), -budget))
    if family.coefficients and of != steps:
        allowed = ", ".join(map(str, family.budgets))
        raise PublishedError(f"steps: {name} has coefficients, which cannot be stretched; must be one of {allowed}")
    levels = family.levels[of] if of == steps else stretched(family.levels[of], steps)
    sigmas = np.array(levels if family.space == "flow" else levels / (1.0 + levels))
    sigmas[-1] = 0.0
    if start is not None:
        if not sigmas[1] < start <= 1:
            raise PublishedError(f"start: must be > {sigmas[1]:g} (the next level) and <= 1, is {start}")
        sigmas[0] = start
    return PublishedGrid(sigmas, of == steps, of, family)


def published_table(name: str, steps: int, *, solver: str | None = None, start: float | None = None) -> Table:
    """The sampler of a published grid: its own coefficients, or a formula solver.

    Args:
        name: a family, one of `names()`.
        steps: as for `published`.
        solver: a formula solver instead of the one that the family is used with; none beside coefficients.
        start: as for `published`; none beside coefficients.

    Raises:
        PublishedError: an argument is not that.
        CompileError: an unknown solver.
    """
    family = tables(name)
    if not family.coefficients:
        grid = published(name, steps, start=start)
        return compile_table(solver or family.solver, grid.sigmas, "flow")
    if solver is not None or start is not None:
        raise PublishedError(f"solver, start: {name} has its own coefficients and levels, so neither can be chosen")
    return multistep_table(published(name, steps).sigmas, family.coefficients[steps])


def multistep_table(sigmas: FloatArray, coefficients: Coefficients) -> Table:
    """A learned linear multistep sampler (Wang et al. 2025, "Differentiable Solver Search").

    Step i moves by (sigma_{i+1} - sigma_i) (sum_j c_ij v_j + (1 - sum_j c_ij) v_i), so a constant velocity is exact.

    Args:
        sigmas: noise levels, shape (steps + 1,), strictly falling.
        coefficients: c, one row of shape (i,) for each step i.
    """
    steps = len(sigmas) - 1
    rows = np.zeros((steps + 1, 1 + steps))
    rows[:, 0] = 1.0
    for i, row in enumerate(coefficients):
        rows[i + 1, 1:] = rows[i, 1:]
        rows[i + 1, 1 : i + 2] += (sigmas[i + 1] - sigmas[i]) * np.append(row, 1.0 - row.sum())
    one = np.ones(steps)
    return Table(t=FLOW.time(sigmas[:-1]), c=one, w=one, uncond=all_fresh(steps), X=rows)


def stretched(levels: FloatArray, steps: int) -> FloatArray:
    """Levels at another number of steps, linear in their logarithm over the share of steps done.

    Args:
        levels: positive, shape (n + 1,).
        steps: at least 1.
    """
    known = np.linspace(0.0, 1.0, len(levels))
    return np.asarray(np.exp(np.interp(np.linspace(0.0, 1.0, steps + 1), known, np.log(levels))))
