"""What solvers take: table rows for a number of steps, and forwards of the network for a row."""

from __future__ import annotations

from functools import lru_cache

from schedules.compile import compile_table
from schedules.grids import uniform


def forwards(guidance_scale: float) -> int:
    """Forwards of the network for a row whose unconditional output is fresh; at scale 1 there is none."""
    return 1 if guidance_scale == 1.0 else 2


def rows_of(solver: str, steps: int) -> int:
    """Rows of a solver's table: one for each step, or two for each but the last where it evaluates twice.

    Args:
        solver: with a compiler.
        steps: >= 1.
    """
    first, each = _rows(solver)
    return first + each * (steps - 1)


@lru_cache
def _rows(solver: str) -> tuple[int, int]:
    """Rows of a solver's table for the first step, and for each further one: Heun's method has 1 and 2."""
    one, two = (compile_table(solver, uniform(steps), "flow").evaluations_count for steps in (1, 2))
    return one, two - one
