"""Samplers that start from a picture with noise on it instead of pure noise, and those that keep a part of it."""

from __future__ import annotations

import numpy as np

from schedules.compile.compiler import compiled_rows, draw_columns, guided_table, split_rows
from schedules.compile.problem import Problem
from schedules.noise import FLOW, NoiseSchedule
from schedules.table import BaseKind, FloatArray, Prediction, Table


def compile_from_image(
    solver: str,
    sigmas: FloatArray,
    prediction: Prediction,
    noise: NoiseSchedule = FLOW,
    *,
    masked: bool = False,
    from_noise: bool = False,
) -> Table:
    """Compile a sampler over the starting noise and an image latent.

    The first row is the image at the first noise level, alpha x0 + sigma n (Meng et al. 2021, "SDEdit"). A solver is
    linear in its first state, so the two columns are shares of the one that pure noise has.

    With a mask, what the mask does to the state before evaluation k is added to it there, and is one more base latent:
    X[k] is the state without it, all later rows have it, each as its solver carries a state on. That is what a loop
    does that blends the state after each step of a multistep solver, which keeps its outputs (Lugmayr et al. 2022).

    Args:
        solver: one of SAMPLERS; with a mask one of SOLVERS.
        sigmas: as compile_table.
        prediction: as compile_table.
        noise: as compile_table.
        masked: whether a part of the image is kept.
        from_noise: whether to start from pure noise all the same, as text to image does.

    Returns:
        A table over base latents (noise, image), followed by E - 1 blends where it is masked, or by the solver's draws.

    Raises:
        CompileError: as compile_table.
    """
    problem, rows = compiled_rows(solver, sigmas, prediction, noise, blends=masked)
    levels = _levels(problem)
    start, outputs, added = split_rows(problem, rows)
    weights = np.array([start[0, 0], 0.0]) if from_noise else levels[0]
    base = start / start[0, 0] * weights
    if not masked:
        return guided_table(problem, np.hstack([base, added, outputs]), ("noise", "image", *draw_columns(problem)))
    blends = np.tril(added, k=-2)  # the unit before evaluation k itself is not yet there when X[k] is asked for
    each: tuple[BaseKind, ...] = ("blend",)
    kinds = ("noise", "image", *each * (problem.steps - 1))
    return guided_table(problem, np.hstack([base, blends, outputs]), kinds, levels)


def _levels(problem: Problem) -> FloatArray:
    """The image at each noise level: weights of the noise and of the image, shape (E + 1, 2)."""
    return np.stack([problem.sigmas, problem.noise.alpha(problem.sigmas)], axis=1)
