"""From answers to figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.budget.asking import Answer
from benchmarks.budget.wishes import FIXED_STEPS
from schedules.evidence import KEPT_BY


def figures_of(answers: Sequence[Answer], seconds: float) -> dict[str, Any]:
    """One row's figures.

    Goodput is pictures a second that were in time and whose schedule was shown to reach their floor; attainment the
    share in time of what was taken in, `late_s` by how much each of the others was late; `latency_error` the median
    share by which the predicted seconds, wait and service, differ from what it took, `latency_within` the share of the
    pictures that took no more than the p50 and the p95 that they had been told.
    """
    drawn = [one for one in answers if one.facts is not None]
    taken = [one for one in answers if one.state != "refused"]
    good = [one for one in drawn if one.in_time and _reaches_floor(one)]
    waits = [one.latency_s for one in drawn]
    return {
        "arrivals": len(answers),
        "states": dict(Counter(one.state for one in answers)),
        "goodput_per_s": len(good) / seconds,
        "attainment": sum(one.in_time for one in taken) / len(taken) if taken else None,
        "late_s": sorted(round(one.latency_s - one.wish.deadline_s, 3) for one in taken if not one.in_time),
        "latency_s": dict(zip(("p50", "p95", "p99"), np.percentile(waits, [50, 95, 99]).tolist(), strict=True))
        if waits
        else None,
        "mean_steps": _mean([one.facts["steps"] for one in drawn if one.facts]),
        "predicted_quality": _mean([_share(one) for one in drawn]),
        "latency_error": latency_error(drawn),
        "latency_within": {name: _share_within(drawn, name) for name in ("p50", "p95")},
    }


def latency_error(drawn: Sequence[Answer]) -> float | None:
    """The median of |predicted - measured| / measured seconds from arrival to the picture."""
    errors = []
    for one in drawn:
        facts = one.facts or {}
        if facts.get("predicted_seconds") is not None:
            predicted = facts["predicted_seconds"] + (facts["predicted_wait_seconds"] or 0.0)
            errors.append(abs(predicted - one.latency_s) / one.latency_s)
    return float(np.median(errors)) if errors else None


def _share_within(drawn: Sequence[Answer], quantile: str) -> float | None:
    """Of the pictures that were told one."""
    told = [(one.facts or {}).get("predicted_latency") for one in drawn]
    kept = [one.latency_s <= each[quantile] for one, each in zip(drawn, told, strict=True) if each is not None]
    return sum(kept) / len(kept) if kept else None


def _reaches_floor(one: Answer) -> bool:
    """By the registry's evidence: of PSNR for as many pictures as by default, of task scores in the mean.

    Of fixed steps nothing is asked, as they are more than any floor needs.
    """
    if one.wish.floor is None or one.facts is None or one.facts["steps"] >= FIXED_STEPS:
        return True
    name, least = one.wish.floor
    shown = one.facts["predicted_quality" if name == "min_quality" else "predicted_quality_db"]
    if shown is None:
        return False
    known = next((kept["least"] for kept in shown["kept"] if kept["by"] >= KEPT_BY), shown["low"])
    return bool(known >= least)


def _share(one: Answer) -> float:
    shown = (one.facts or {}).get("predicted_quality")
    return float("nan") if shown is None else float(shown["mean"])


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None
