"""Up to which guidance scales a schedule holds: measured, not assumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from workers.lab.searching.evidence import Evidences
from workers.lab.searching.found import Found
from workers.lab.searching.run import SearchRun

_SEEDS = 32
_BUDGETS = (4, 8, 16)  # few, middling and many steps stand for all


def holding_range(run: SearchRun, found: Mapping[int, Found]) -> tuple[float, float]:
    """The range of guidance scales around the searched one in which no baseline beats the schedule.

    Each end of the wish is tried on held-out seeds; where a baseline has the higher mean PSNR at one of a few budgets,
    the end moves halfway to the searched scale and is tried once more, and then gives up.
    """
    centre = run.request.guidance_scale
    low, high = (_holding_end(run, found, end) for end in run.request.guidance_range or (centre, centre))
    return low, high


def _holding_end(run: SearchRun, found: Mapping[int, Found], end: float) -> float:
    centre = run.request.guidance_scale
    return next((scale for scale in _candidates(end, centre) if scale == centre or _holds(run, found, scale)), centre)


def _candidates(end: float, centre: float) -> Iterator[float]:
    yield end
    yield (end + centre) / 2


def _holds(run: SearchRun, found: Mapping[int, Found], scale: float) -> bool:
    request = replace(run.request, guidance_scale=scale, held_out=min(_SEEDS, run.request.held_out))
    there = SearchRun(run.model, request, run.store, run.meter)
    evidences = Evidences(there)
    for steps in (steps for steps in _BUDGETS if steps in found):
        evidence = evidences.of(found[steps].sampler)
        if any(figure.mean > evidence.psnr_db.mean for figure in evidence.baselines_psnr_db.values()):
            return False
    return True
