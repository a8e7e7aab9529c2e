"""What evidence says of a schedule, as a plan tells it."""

from __future__ import annotations

from typing import TypedDict

from schedules.evidence import Evidence, Figure, pairs

_Interval = tuple[float, float, float]


class Figures(TypedDict):
    """Fields of a plan."""

    predicted_quality_db: _Interval | None
    predicted_quality: _Interval | None
    kept_psnr_db: tuple[tuple[float, float], ...]
    kept_ssim: tuple[tuple[float, float], ...]


def figures_of(evidence: Evidence | None) -> Figures:
    """What is to be expected of a schedule, by its evidence; nothing without any."""
    if evidence is None:
        return Figures(predicted_quality_db=None, predicted_quality=None, kept_psnr_db=(), kept_ssim=())
    return Figures(
        predicted_quality_db=_interval(evidence.psnr_db),
        predicted_quality=None if evidence.quality is None else _interval(evidence.quality),
        kept_psnr_db=pairs(evidence.kept_psnr_db),
        kept_ssim=pairs(evidence.kept_ssim),
    )


def _interval(figure: Figure) -> _Interval:
    return figure.mean, figure.low, figure.high
