"""From (solver, sigmas) to the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from schedules.compile.adams import adams_bashforth_rows, ddim_rows
from schedules.compile.dpmpp import dpmpp_2m_rows
from schedules.compile.problem import CompileError, Problem
from schedules.compile.unipc import unipc_2_rows
from schedules.noise import FLOW, NoiseSchedule
from schedules.table import FloatArray, Prediction, Table, all_fresh

_COMPILERS: Mapping[str, tuple[int, Callable[[Problem], FloatArray]]] = MappingProxyType(
    {
        "euler": (1, lambda problem: adams_bashforth_rows(problem, order=1)),
        "ab2": (2, lambda problem: adams_bashforth_rows(problem, order=2)),
        "ab3": (3, lambda problem: adams_bashforth_rows(problem, order=3)),
        "ddim": (1, ddim_rows),
        "dpmpp-2m": (2, dpmpp_2m_rows),
        "unipc-2": (2, unipc_2_rows),
    }
)
SOLVERS: Mapping[str, int] = MappingProxyType({name: order for name, (order, _) in _COMPILERS.items()})
"""The solvers that have a compiler, and their orders."""


def compile_table(solver: str, sigmas: FloatArray, prediction: Prediction, noise: NoiseSchedule = FLOW) -> Table:
    """Compile a sampler.

    The state is x = (1 - sigma) x0 + sigma n for a flow and x = x0 + sigma n otherwise (variance-exploding
    coordinates). Every row is guided afresh: w is 1.

    Args:
        solver: one of SOLVERS.
        sigmas: final noise levels, after any shift, shape (steps + 1,), strictly falling, the last >= 0.
        prediction: what the network's output stands for.
        noise: how the network was trained; FLOW exactly when the prediction is "flow" (either for "sample").

    Returns:
        A table with one evaluation for each step, over the starting noise.

    Raises:
        CompileError: an argument is not that; the message names it.
    """
    if solver not in _COMPILERS:
        raise CompileError(f"solver: must be one of {', '.join(SOLVERS)}, is {solver!r}")
    problem = Problem.of(sigmas, prediction, noise)
    at_evaluations = problem.sigmas[:-1]
    return Table(
        t=noise.time(at_evaluations),
        c=noise.input_scale(at_evaluations),
        w=np.ones(problem.steps),
        uncond=all_fresh(problem.steps),
        X=_COMPILERS[solver][1](problem),
    )
