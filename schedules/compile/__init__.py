"""Compilers: (solver, sigmas) -> table, in numpy, for grids that stock schedulers would quantise, shift or drop."""

from schedules.compile.compiler import SAMPLERS, SOLVERS, compile_table, evaluation_sigmas
from schedules.compile.from_image import compile_from_image
from schedules.compile.problem import CompileError

__all__ = ["SAMPLERS", "SOLVERS", "CompileError", "compile_from_image", "compile_table", "evaluation_sigmas"]
