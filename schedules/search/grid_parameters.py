"""A grid as parameters without constraints: the logarithms of its gaps, and a share for each of the net's own times."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from schedules.table import FloatArray

_LEAST_GAP = 1e-4


def log_gaps(sigmas: FloatArray) -> Tensor:
    """The parameters of noise levels that fall from 1 to 0, shape (steps,), float64.

    Raises:
        ValueError: levels that do not.
    """
    if sigmas[0] != 1 or sigmas[-1] != 0 or (np.diff(sigmas) >= 0).any():
        raise ValueError("sigmas: must fall strictly from 1 to 0")
    return torch.tensor(np.log(np.maximum(-np.diff(sigmas) - _LEAST_GAP, _LEAST_GAP)))


def levels(parameters: Tensor) -> Tensor:
    """Noise levels from exactly 1 to exactly 0 whose gaps are the softmax of the parameters, shape (steps + 1,)."""
    steps = len(parameters)
    gaps = _LEAST_GAP + (1 - steps * _LEAST_GAP) * parameters.softmax(0)
    ends = torch.ones(1, dtype=parameters.dtype)
    return torch.cat([ends, 1 - gaps.cumsum(0)[:-1], 0 * ends])


def nudged(sigmas: Tensor, shares: Tensor) -> Tensor:
    """The noise levels that the network is told: within half the least gap of the true ones, and within 0..1.

    Args:
        sigmas: the true ones, shape (steps + 1,).
        shares: parameters, shape (steps,); 0 leaves a level alone, -1 and 1 move it as far as it goes.
    """
    reach = -sigmas.diff().max().detach() / 2
    return (sigmas[:-1] + reach * shares.clamp(-1.0, 1.0)).clamp(0.0, 1.0)
