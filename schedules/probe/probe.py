"""From a stock scheduler to its table, by running it on basis vectors.

Let the starting noise be e_0, the scheduler's draws e_1 ... e_{B-1} and the k-th network output e_{B+k}: the samples
that come back are the rows of X. Whatever is not linear shows on random combinations, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from schedules.probe.grid import Rig
from schedules.probe.run import NotFinite, NotLinear, Trace
from schedules.table import BaseKind, FloatArray, Table, all_fresh

LINEAR_TOLERANCE = 1e-5
"""Relative to the sum of magnitudes; some schedulers compute in float32 whatever they are given."""
_SCALES = (1e-2, 1.0, 30.0, 1e3)
"""Sizes of the random combinations: clipping shows on large ones, constants on small ones."""
_NON_LINEAR_OPTIONS = ("thresholding", "clip_sample")


def probe(
    scheduler: object,
    steps: int,
    *,
    sigmas: Sequence[float] | FloatArray | None = None,
    set_options: Mapping[str, object] | None = None,
    step_options: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Table:
    """Compile a stock diffusers scheduler.

    Evaluations are counted, not assumed: Heun has 2 steps - 1 of them, PNDM steps + 1.

    Args:
        scheduler: any scheduler with set_timesteps and step; it is copied and left as it is.
        steps: the step count, >= 1.
        sigmas: a grid of one's own where the scheduler takes one: final values, shape (steps + 1,), ending in 0.
        set_options: further arguments of set_timesteps, such as mu.
        step_options: further arguments of step, such as eta.
        seed: of the random combinations on which linearity is checked.

    Returns:
        The table in the scheduler's own coordinates: one "noise" column, one "draw" column per draw in their order,
        X[0] holding its initial scale, c its input scaling, t its timesteps.

    Raises:
        NotLinear: thresholding or clip_sample is on, or a check on random combinations fails.
        NotFinite: the scheduler's own result is nan or inf.
        CannotRun: it refuses this step count, or these sigmas, or changes them.
    """
    _refuse_options(scheduler)
    rig = Rig.of(scheduler, steps, sigmas, set_options or {}, step_options or {})
    bases, evaluations = 1 + rig.count_draws(), rig.evaluations_count
    basis = rig.run(np.eye(bases + evaluations), bases)
    if not np.isfinite(basis.states).all():
        raise NotFinite(f"{rig.name} gives nan or inf at {steps} steps")
    vectors = _combinations(bases + evaluations, seed)
    scales = _input_scales(basis)
    _check_linear(basis.states, scales, vectors, rig.run(vectors, bases), rig.name)
    draw: BaseKind = "draw"
    return Table(
        t=basis.times,
        c=scales,
        w=np.ones(evaluations),
        uncond=all_fresh(evaluations),
        X=basis.states,
        base=("noise", *(draw,) * (bases - 1)),
    )


def _refuse_options(scheduler: object) -> None:
    config = getattr(scheduler, "config", {})
    for option in _NON_LINEAR_OPTIONS:
        if config.get(option):
            raise NotLinear(f"{type(scheduler).__name__}: {option} is on; turn it off to get a linear sampler")


def _input_scales(basis: Trace) -> FloatArray:
    """The ratio of input to sample, read off the largest component."""
    rows = np.arange(len(basis.times))
    largest = np.abs(basis.states[:-1]).argmax(axis=1)
    ratios: FloatArray = basis.inputs[rows, largest] / basis.states[rows, largest]
    return ratios


def _combinations(count: int, seed: int) -> FloatArray:
    """Random vectors for noise, draws and outputs, several sizes side by side; shape (count, 8 len(_SCALES))."""
    scales = np.repeat(_SCALES, 8)
    vectors: FloatArray = np.random.default_rng(seed).standard_normal((count, scales.size)) * scales
    return vectors


def _check_linear(rows: FloatArray, scales: FloatArray, vectors: FloatArray, trace: Trace, name: str) -> None:
    _compare(trace.states, rows, vectors, f"{name}: the sample before evaluation")
    _compare(trace.inputs, scales[:, None] * rows[:-1], vectors, f"{name}: the network's input at evaluation")


def _compare(seen: FloatArray, rows: FloatArray, vectors: FloatArray, what: str) -> None:
    allowed = LINEAR_TOLERANCE * (np.abs(rows) @ np.abs(vectors))
    wrong = ~(np.abs(seen - rows @ vectors) <= allowed)
    if wrong.any():
        k = int(wrong.any(axis=1).argmax())
        raise NotLinear(f"{what} {k} is not linear in the noise and the network's outputs")
