"""Guidance that differs from row to row, in a stock pipeline, which is called with one scale for all rows.

Pipelines multiply the difference of their two outputs by their guidance scale. The scale that they are handed here is
a float which notices that, so a scheduler knows whether a row was guided as its table says, or was not: many pipelines
keep the scale that they were called with, embed it, or lose it, and none of them says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

from torch import Tensor

Noticed = Callable[[range], None]
"""Is told of rows that a pipeline guides by the scale that is theirs."""


class RowScale(float):
    """The guidance scale of some rows, which notices what a pipeline does with it.

    Args:
        value: what the pipeline multiplies the difference of its outputs by.
        unguided: the scale at which the pipeline does not guide.
        rows: whose scale it is.
        noticed: is told of these rows when a tensor is multiplied by the scale, or when the pipeline learns by
            comparing it that it shall not guide.
    """

    _unguided: float
    _notice: Callable[[], None]

    def __new__(cls, value: float, unguided: float, rows: range, noticed: Noticed) -> Self:
        """A float with this value."""
        made = super().__new__(cls, value)
        made._unguided, made._notice = unguided, partial(noticed, rows)
        return made

    def __mul__(self, other: Any) -> Any:
        """The product, of plain numbers."""
        if isinstance(other, Tensor):
            self._notice()
        return float(self) * other

    def __gt__(self, other: float) -> bool:
        """The comparison by which a pipeline decides whether it guides.

        Raises:
            ValueError: it begins to guide at another scale than was supposed.
        """
        if other != self._unguided:
            raise ValueError(
                f"this pipeline guides above {other:g}, not above {self._unguided:g}; "
                f"pass unguided_scale={other:g} to call_arguments"
            )
        guides = float(self) > other
        if not guides:
            self._notice()
        return guides


def row_scales(
    w: Sequence[float], guidance_scale: float, unguided: float, noticed: Noticed, name: str
) -> tuple[RowScale, ...]:
    """The scale of each row, u + w[k] (G - u); a single one where no row is guided.

    Args:
        w: relative weights, E of them, >= 0.
        guidance_scale: G.
        unguided: u, the scale at which the pipeline does not guide.
        noticed: as in `RowScale`.
        name: of the table, for messages.

    Raises:
        ValueError: the scale is not finite, or pipelines would leave a row without the guidance that it has.
    """
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale: must be finite, is {guidance_scale}")
    values = [unguided + weight * (guidance_scale - unguided) for weight in w]
    if set(values) == {unguided}:
        return (RowScale(unguided, unguided, range(len(w)), noticed),)
    lost = next((k for k, value in enumerate(values) if value <= unguided), None)
    if lost is not None:
        raise ValueError(
            f"{name}: at guidance_scale {guidance_scale:g} row {lost} is guided by {values[lost]:g}, and stock "
            f"pipelines switch their guidance off at {unguided:g} and below"
        )
    return tuple(RowScale(value, unguided, range(k, k + 1), noticed) for k, value in enumerate(values))


def setting_each(scales: Sequence[RowScale], name: str) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """A callback_on_step_end that hands a pipeline the scale of each next row.

    Args:
        scales: of all rows.
        name: of the table, for messages.
    """

    def set_next(pipeline: Any, step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        if getattr(pipeline, "_guidance_scale", None) is not scales[step]:
            raise ValueError(f"{name}: the pipeline's guidance scale is not the one of row {step} that came with this")
        if step + 1 < len(scales):
            pipeline._guidance_scale = scales[step + 1]  # noqa: SLF001 - its guidance_scale reads this, and cannot be set
        return values

    return set_next
