"""The phi functions of exponential integrators."""

from __future__ import annotations

from math import factorial

import numpy as np


def phi(n: int, z: float) -> float:
    """phi_n(z), the sum of z^j / (j + n)! over j >= 0, by its series where the closed form would cancel.

    Args:
        n: >= 1.
        z: finite; -h for integrators on the clean image, h the step in log signal-to-noise ratio.
    """
    if abs(z) < 1.0:
        return sum(z**j / factorial(j + n) for j in range(20))
    value = np.expm1(z) / z
    for k in range(1, n):
        value = (value - 1.0 / factorial(k)) / z
    return float(value)
