"""Formula solvers of at most two steps as coefficients that follow the noise levels, also for gradients in them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

Quantity = Literal["velocity", "clean"]

_PURE_NOISE = 1e-6

SOLVERS: Mapping[str, Quantity] = MappingProxyType({"euler": "velocity", "ab2": "velocity", "dpmpp-2m": "clean"})
"""The solvers that are known here, with what each extrapolates: the velocity, or the clean image x - sigma v."""


def quantity(solver: str, x: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """What a solver extrapolates, from samples (or rows) and the velocities at them.

    Raises:
        ValueError: an unknown solver.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver: must be one of {', '.join(SOLVERS)}, is {solver!r}")
    return v if SOLVERS[solver] == "velocity" else x - sigma * v


def coefficients(solver: str, before: Tensor | None, now: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The weights (a, b, c) of the step x' = a x + b q + c q_before, q being the solver's quantity.

    Args:
        solver: one of SOLVERS.
        before: the noise level of the evaluation before, None at the first step, where c is 0.
        now: that of this one, a scalar, float64.
        after: where the step leads, < now.
    """
    if solver == "dpmpp-2m":
        ratio = after / now
        share = _slope_share(before, now, after)
        weight = (1 - after) - (1 - now) * ratio
        return ratio, weight * (1 + share), -weight * share
    gap = after - now
    share = gap / (now - before) / 2 if solver == "ab2" and before is not None else torch.zeros_like(now)
    return torch.ones_like(now), gap * (1 + share), -gap * share


def _slope_share(before: Tensor | None, now: Tensor, after: Tensor) -> Tensor:
    """1 / (2 r) of DPM-Solver++(2M), r the ratio of the last step in log signal-to-noise to this one's (Lu 2022)."""
    if before is None or not bool(after.detach()):
        return torch.zeros_like(now)
    return 0.5 * (_log_snr(after) - _log_snr(now)) / (_log_snr(now) - _log_snr(before))


def _log_snr(sigma: Tensor) -> Tensor:
    return (1 - sigma).clamp_min(_PURE_NOISE).log() - sigma.log()


def solver_rows(solver: str, sigmas: Tensor) -> Tensor:
    """A solver's rows over the starting noise and the velocities, differentiable in the noise levels.

    Args:
        solver: one of SOLVERS.
        sigmas: falling, the last >= 0, shape (steps + 1,), float64.

    Returns:
        X, shape (steps + 1, 1 + steps), float64, equal to that of `compile_table`.

    Raises:
        ValueError: an unknown solver.
    """
    steps = len(sigmas) - 1
    unit = torch.eye(1 + steps, dtype=sigmas.dtype)
    rows, past = [unit[0]], unit[0]
    for k in range(steps):
        present = quantity(solver, rows[k], unit[1 + k], sigmas[k])
        a, b, c = coefficients(solver, sigmas[k - 1] if k else None, sigmas[k], sigmas[k + 1])
        rows.append(a * rows[k] + b * present + c * past)
        past = present
    return torch.stack(rows)
