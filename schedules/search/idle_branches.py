"""The unconditional output of rows for which it counts nothing.

A search may take the guidance of a row away altogether, w = 0. While it searches the row stays one that evaluates both
branches, since its weight may rise again; where the table is kept, the forward that nothing comes of is skipped.
"""

from __future__ import annotations

from dataclasses import replace

from schedules.table import Table, UncondMode, all_fresh

_SKIPPED: UncondMode = "skipped"


def without_idle_branches(table: Table) -> Table:
    """The table that draws the same and skips each unconditional output which no row's weight lets in.

    Args:
        table: any.
    """
    used = {source for source, w in zip(table.uncond_sources(), table.w, strict=True) if w != 0}
    modes = (
        _SKIPPED if w == 0 and k not in used else mode
        for k, (mode, w) in enumerate(zip(table.uncond, table.w, strict=True))
    )
    return replace(table, uncond=tuple(modes))


def with_all_branches(table: Table) -> Table:
    """The table that draws the same and evaluates both branches on each row, so that every weight may rise.

    Args:
        table: any; one that reuses unconditional outputs stays as it is.
    """
    return table if "reused" in table.uncond else replace(table, uncond=all_fresh(table.evaluations_count))
