"""Up to which guidance scales a schedule holds: measured, not assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from workers.lab.searching.evidence import Evidences
from workers.lab.searching.found import Found
from workers.lab.searching.run import SearchRun

FAILED = "guidance_range_failed"
"""The parameter of a provenance that says at which scales of the wish a baseline was better; absent where at none."""

SEEDS = 32
"""The most held-out seeds of one check."""

_BUDGETS = (4, 8, 16)  # few, middling and many steps stand for all


def holding_range(
    run: SearchRun, found: Mapping[int, Found], tell: Callable[[str], None] | None = None
) -> tuple[float, float]:
    """The range of guidance scales around the searched one in which no baseline beats the schedule.

    Each end of the wish is tried on held-out seeds; where a baseline has the higher mean PSNR at one of a few budgets,
    the end moves halfway to the searched scale and is tried once more, and then gives up.

    Args:
        run: the search, with its wish.
        found: by budget.
        tell: is told of each scale that failed, and by what.
    """
    centre = run.request.guidance_scale
    low, high = (_holding_end(run, found, end, tell) for end in run.request.guidance_range or (centre, centre))
    return low, high


def tried(budgets: Iterable[int]) -> list[int]:
    """The budgets that stand for all: those nearest to few, middling and many steps."""
    known = sorted(budgets)
    return sorted({min(known, key=lambda steps: abs(steps - wanted)) for wanted in _BUDGETS})


def _holding_end(run: SearchRun, found: Mapping[int, Found], end: float, tell: Callable[[str], None] | None) -> float:
    centre = run.request.guidance_scale
    for scale in _candidates(end, centre):
        beaten = None if scale == centre else _beaten(run, found, scale)
        if beaten is None:
            return scale
        if tell:
            tell(f"{beaten} at guidance {scale:g}")
    return centre


def _candidates(end: float, centre: float) -> Iterator[float]:
    yield end
    yield (end + centre) / 2


def _beaten(run: SearchRun, found: Mapping[int, Found], scale: float) -> str | None:
    """The baseline that is better at a scale, with the figures; None where the schedule holds."""
    request = replace(run.request, guidance_scale=scale, held_out=min(SEEDS, run.request.held_out))
    evidences = Evidences(SearchRun(run.model, request, run.store, run.meter))
    for steps in tried(found):
        evidence = evidences.of(found[steps].sampler)
        name, best = max(evidence.baselines_psnr_db.items(), key=lambda each: each[1].mean)
        if best.mean > evidence.psnr_db.mean:
            return f"{name} has {best.mean:.2f} dB and this {evidence.psnr_db.mean:.2f} in {steps} steps"
    return None
