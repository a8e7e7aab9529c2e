"""What a simulated service comes to, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pacer.control.simulation.service import Outcome, Simulated


@dataclass(frozen=True, slots=True)
class Figures:
    """Of some requests; a mean or percentile of nothing is None.

    Attributes:
        offered: requests that came: admitted, refused and invalid ones.
        admitted: of them taken in: completed and expired ones.
        refused: answered 429.
        invalid: answered as wrong in themselves: the load had no part in it.
        completed: with an image.
        expired: given up after their deadline.
        in_time: with an image by their deadline, or without one.
        attainment: the share of the admitted that were in time.
        latency_p50_s: from arrival to the image; half of the completed were faster.
        latency_p95_s: the same of 95 %.
        latency_p99_s: the same of 99 %.
        mean_steps: of the completed.
        mean_quality_db: predicted PSNR to the teacher, of those completed whose schedule was measured.
        mean_quality: predicted share of the teacher's quality, of the same.
    """

    offered: int
    admitted: int
    refused: int
    invalid: int
    completed: int
    expired: int
    in_time: int
    attainment: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    mean_steps: float | None
    mean_quality_db: float | None
    mean_quality: float | None

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Figures:
        """Count and average."""
        counts = {
            state: sum(one.state == state for one in outcomes)
            for state in ("completed", "expired", "refused", "invalid")
        }
        admitted = counts["completed"] + counts["expired"]
        in_time = sum(one.in_time for one in outcomes)
        latencies = [one.latency_s for one in outcomes if one.latency_s is not None]
        p50, p95, p99 = np.percentile(latencies, (50, 95, 99)).tolist() if latencies else (None, None, None)
        plans = [one.plan for one in outcomes if one.plan is not None and one.done_s is not None]
        return cls(
            offered=len(outcomes),
            admitted=admitted,
            in_time=in_time,
            attainment=in_time / admitted if admitted else None,
            latency_p50_s=p50,
            latency_p95_s=p95,
            latency_p99_s=p99,
            mean_steps=_mean(each.steps for each in plans),
            mean_quality_db=_mean(each.predicted_quality_db[0] for each in plans if each.predicted_quality_db),
            mean_quality=_mean(each.predicted_quality[0] for each in plans if each.predicted_quality),
            **counts,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Of one number of workers.

    Attributes:
        workers: how many.
        seconds: from the first arrival to the last arrival, image or turn, whichever is later.
        goodput_per_s: images in time a second.
        utilisation: the share of that time in which a worker was busy, 0 to 1.
        total: of all requests.
        budgets: the same by what was asked for, the deadline left out, sorted.
    """

    workers: int
    seconds: float
    goodput_per_s: float
    utilisation: float
    total: Figures
    budgets: dict[str, Figures]

    @classmethod
    def of(cls, run: Simulated) -> Report:
        """Sum a run up."""
        total, seconds = Figures.of(run.outcomes), _span_s(run)
        groups: dict[str, list[Outcome]] = {}
        for one in run.outcomes:
            groups.setdefault(one.asked.budget, []).append(one)
        return cls(
            workers=run.workers,
            seconds=seconds,
            goodput_per_s=total.in_time / seconds if seconds else 0.0,
            utilisation=run.busy_s / (run.workers * seconds) if seconds else 0.0,
            total=total,
            budgets={name: Figures.of(groups[name]) for name in sorted(groups, key=_by_number)},
        )


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fmean(known) if known else None


def _span_s(run: Simulated) -> float:
    if not run.outcomes:
        return 0.0
    arrivals = [one.asked.at_s for one in run.outcomes]
    images = [one.done_s for one in run.outcomes if one.done_s is not None]
    return max(*arrivals, *images, run.worked_until_s) - min(arrivals)


def _by_number(budget: str) -> tuple[float, str]:
    """Budgets of steps by their number, the others after them."""
    first = budget.split(" ", 1)[0]
    return (float(first) if first.isdigit() else float("inf"), budget)
