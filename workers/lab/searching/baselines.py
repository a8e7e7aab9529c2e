"""What a search is compared with where nobody says: the solvers and grids that people use."""

from __future__ import annotations

from workers.lab.native import Native

FLOW = ("uniform", "stock", "shift3", "karras", "beta")
"""Grids of flows: uniform, the model's own at shift 1, SD3's shift, Karras and beta."""

VARIANCE_PRESERVING = ("trailing", "linspace", "karras", "exponential")
"""Grids of epsilon and v models: equal times from the last or over all of them, Karras, and equal log-SNR."""

LEARNED_FLOW = (
    "euler uniform",
    "euler shift3",
    "ab2 shift2",
    "ab2 shift3",
    "dpmpp-2m shift2",
    "dpmpp-2m shift3",
    "unipc-2 shift2",
    "unipc-2 shift3",
)
"""What learned coefficients of flows are compared with: solvers on grids."""

LEARNED_VARIANCE_PRESERVING = (
    "euler trailing",
    "euler karras",
    "dpmpp-2m trailing",
    "dpmpp-2m karras",
    "dpmpp-2m exponential",
    "unipc-2 trailing",
    "unipc-2 karras",
    "unipc-2 exponential",
)
"""The same of epsilon and v models, where Euler is DDIM."""


def usual_baselines(native: Native, *, learned: bool) -> tuple[str, ...]:
    """The baselines of a search.

    Args:
        native: the kind of network.
        learned: whether coefficients are searched, so that baselines are "SOLVER GRID"; else grids alone.
    """
    if native.noise is None:
        return LEARNED_FLOW if learned else FLOW
    return LEARNED_VARIANCE_PRESERVING if learned else VARIANCE_PRESERVING
