"""Noise levels that a caller brings along."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pacer.errors import ErrorKind, PacerError
from pacer.models import ModelCard


def check_sigmas(sigmas: tuple[float, ...], card: ModelCard, max_steps: int) -> None:
    """Refuse a caller's sigmas that are no schedule of this model.

    Raises:
        PacerError: invalid_request, saying which sigma breaks which rule.
    """
    if not 2 <= len(sigmas) <= max_steps + 1:
        raise _invalid(f"must have 2 to {max_steps + 1} entries (steps + 1), has {len(sigmas)}")
    for i, sigma in enumerate(sigmas):
        if not np.isfinite(sigma):
            raise _invalid(f"must be finite, sigmas[{i}] is {sigma}")
        if not 0 <= sigma <= card.sigma_max:
            raise _invalid(f"must lie in 0 to {card.sigma_max:g}, sigmas[{i}] is {sigma:g}")
    for i, (before, after) in enumerate(pairwise(sigmas)):
        if after >= before:
            raise _invalid(f"must decrease strictly, sigmas[{i}] is {before:g}, sigmas[{i + 1}] is {after:g}")
    if sigmas[-1] != 0:
        raise _invalid(f"must end in 0, the last is {sigmas[-1]:g}")
    if sigmas[-2] < card.sigma_min:
        raise _invalid(f"must not fall below {card.sigma_min:g} before the final 0")


def _invalid(detail: str) -> PacerError:
    return PacerError(ErrorKind.invalid_request, f"sigmas: {detail}", field="sigmas")
