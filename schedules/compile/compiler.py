"""From (solver, sigmas) to the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np

from schedules.compile.adams import adams_bashforth_rows, ddim_rows
from schedules.compile.deis import deis_rows
from schedules.compile.dpmpp import dpmpp_2m_rows, dpmpp_3m_rows
from schedules.compile.heun import heun_levels, heun_rows
from schedules.compile.ipndm import ipndm_rows
from schedules.compile.lcm import lcm_rows
from schedules.compile.problem import CompileError, Problem
from schedules.compile.unipc import unipc_rows
from schedules.noise import FLOW, NoiseSchedule
from schedules.table import BaseKind, FloatArray, Prediction, Table, all_fresh


@dataclass(frozen=True, slots=True)
class _Compiler:
    """How a solver is compiled.

    Attributes:
        order: its order.
        rows: from the problem to X.
        levels: from the grid's noise levels, shape (steps + 1,), to each evaluation's and the last, shape (E + 1,).
        draws: whether it draws noise before each evaluation but the first.
    """

    order: int
    rows: Callable[[Problem], FloatArray]
    levels: Callable[[FloatArray], FloatArray] = lambda sigmas: sigmas
    draws: bool = False


_COMPILERS: Mapping[str, _Compiler] = MappingProxyType(
    {
        "euler": _Compiler(1, partial(adams_bashforth_rows, order=1)),
        "ab2": _Compiler(2, partial(adams_bashforth_rows, order=2)),
        "ab3": _Compiler(3, partial(adams_bashforth_rows, order=3)),
        "ddim": _Compiler(1, ddim_rows),
        "heun": _Compiler(2, heun_rows, heun_levels),
        "ipndm": _Compiler(4, ipndm_rows),
        "deis-2": _Compiler(2, partial(deis_rows, order=2)),
        "deis-3": _Compiler(3, partial(deis_rows, order=3)),
        "dpmpp-2m": _Compiler(2, dpmpp_2m_rows),
        "dpmpp-3m": _Compiler(3, dpmpp_3m_rows),
        "unipc-2": _Compiler(2, partial(unipc_rows, order=2)),
        "unipc-3": _Compiler(3, partial(unipc_rows, order=3)),
        "lcm": _Compiler(1, lcm_rows, draws=True),
    }
)
SOLVERS: Mapping[str, int] = MappingProxyType(
    {name: compiler.order for name, compiler in _COMPILERS.items() if not compiler.draws}
)
"""The solvers that have a compiler, and their orders as their authors give them."""

SAMPLERS: tuple[str, ...] = tuple(_COMPILERS)
"""Those, and what draws noise at each step, which no search can compare with a teacher."""


def evaluation_sigmas(solver: str, sigmas: FloatArray) -> FloatArray:
    """The noise level of each evaluation: of each step, save for Heun, which evaluates at both ends of a step.

    Args:
        solver: one of SAMPLERS.
        sigmas: the grid, shape (steps + 1,).

    Returns:
        Shape (E,), float64.

    Raises:
        CompileError: there is no such solver.
    """
    return _compiler(solver).levels(np.array(sigmas, dtype=np.float64))[:-1]


def _compiler(solver: str) -> _Compiler:
    if solver not in _COMPILERS:
        raise CompileError(f"solver: must be one of {', '.join(SAMPLERS)}, is {solver!r}")
    return _COMPILERS[solver]


def compile_table(solver: str, sigmas: FloatArray, prediction: Prediction, noise: NoiseSchedule = FLOW) -> Table:
    """Compile a sampler.

    The state is x = (1 - sigma) x0 + sigma n for a flow and x = x0 + sigma n otherwise (variance-exploding
    coordinates). Every row is guided afresh: w is 1.

    Args:
        solver: one of SAMPLERS.
        sigmas: final noise levels, after any shift, shape (steps + 1,), strictly falling, the last >= 0.
        prediction: what the network's output stands for.
        noise: how the network was trained; FLOW exactly when the prediction is "flow" (either for "sample").

    Returns:
        A table over the starting noise, with one evaluation for each step; Heun's has two, save for one on a last step
        to sigma 0: 2 steps - 1 in all. Where the solver draws noise, that of each step but the last is a base latent.

    Raises:
        CompileError: an argument is not that; the message names it.
    """
    problem, rows = compiled_rows(solver, sigmas, prediction, noise)
    start, outputs, draws = split_rows(problem, rows)
    return guided_table(problem, np.hstack([start, draws, outputs]), ("noise", *draw_columns(problem)))


def compiled_rows(
    solver: str, sigmas: FloatArray, prediction: Prediction, noise: NoiseSchedule, *, blends: bool = False
) -> tuple[Problem, FloatArray]:
    """The problem with the noise level of each evaluation, and its rows.

    Args:
        solver: as compile_table.
        sigmas: as compile_table.
        prediction: as compile_table.
        noise: as compile_table.
        blends: whether something may be added to the state before each evaluation but the first.

    Raises:
        CompileError: as compile_table, and where both are there.
    """
    compiler = _compiler(solver)
    if compiler.draws and blends:
        raise CompileError(f"solver: {solver!r} draws noise at each step, and keeps no part of a picture")
    grid = Problem.of(sigmas, prediction, noise)
    problem = replace(grid, sigmas=compiler.levels(grid.sigmas), blends=blends, draws=compiler.draws)
    return problem, compiler.rows(problem)


def split_rows(problem: Problem, rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The columns of rows: the starting noise, the outputs, and what is added before evaluations."""
    start, outputs, added = np.split(rows, [1, 1 + problem.steps], axis=1)
    return start, outputs, added


def draw_columns(problem: Problem) -> tuple[BaseKind, ...]:
    """The kinds of the base latents that a problem draws."""
    each: tuple[BaseKind, ...] = ("draw",)
    return each * (problem.steps - 1) if problem.draws else ()


def guided_table(
    problem: Problem,
    rows: FloatArray,
    base: tuple[BaseKind, ...] = ("noise",),
    original: FloatArray | None = None,
) -> Table:
    """The table of rows, guided afresh at each of them."""
    at_evaluations = problem.sigmas[:-1]
    return Table(
        t=problem.noise.time(at_evaluations),
        c=problem.noise.input_scale(at_evaluations),
        w=np.ones(problem.steps),
        uncond=all_fresh(problem.steps),
        X=rows,
        base=base,
        original=original,
    )
