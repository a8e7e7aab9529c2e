"""From what became of the requests to goodput, throughput and latencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

_MOST_ERRORS = 8

State = Literal["drawn", "refused", "expired", "failed", "unanswered"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        steps: its budget.
        at_s: when it was due to be sent, seconds from the start.
        late_s: how much later the client sent it.
        latency_s: from when it was due until its answer was there, or until nobody waited any more.
        deadline_s: seconds from when it was due until when its picture was wanted.
        state: drawn with a picture; refused at once; expired, given up by the server; failed; unanswered when the
            measurement ended.
        detail: what a failure said.
    """

    steps: int
    at_s: float
    late_s: float
    latency_s: float
    deadline_s: float
    state: State
    detail: str = ""

    @property
    def in_time(self) -> bool:
        """Whether there was a picture by the deadline."""
        return self.state == "drawn" and self.latency_s <= self.deadline_s

    @property
    def waited_s(self) -> float:
        """Its part in the latencies: without a picture at least the deadline, so that refusing gains nothing."""
        return self.latency_s if self.state == "drawn" else max(self.latency_s, self.deadline_s)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds over some requests, each counted with `waited_s`."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step budget's part."""

    arrivals: int
    in_time_share: float
    latency_s: Latency


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement.

    Attributes:
        arrivals: requests sent.
        goodput_per_s: pictures in time, over the seconds in which requests arrived.
        throughput_per_s: pictures that were there while requests still arrived, over the same seconds.
        in_time_share: of the arrivals.
        latency_s: over all requests.
        by_steps: the same for each step budget that arrived.
        states: how many ended how.
        errors: what was said where there is no picture, and how often; the commonest.
        client_late_s: the most by which the client sent a request too late; its own part in the latencies.
    """

    arrivals: int
    goodput_per_s: float
    throughput_per_s: float
    in_time_share: float
    latency_s: Latency
    by_steps: dict[str, StepFigures]
    states: dict[str, int]
    errors: dict[str, int]
    client_late_s: float


def figures_of(outcomes: Sequence[Outcome], seconds: float) -> Figures:
    """The figures of requests that arrived within so many seconds.

    Raises:
        ValueError: there were none.
    """
    if not outcomes:
        raise ValueError("nothing arrived; a longer or denser trace is needed")
    drawn = [one for one in outcomes if one.state == "drawn"]
    in_time = sum(one.in_time for one in outcomes)
    return Figures(
        arrivals=len(outcomes),
        goodput_per_s=in_time / seconds,
        throughput_per_s=sum(one.at_s + one.latency_s <= seconds for one in drawn) / seconds,
        in_time_share=in_time / len(outcomes),
        latency_s=latency_of(outcomes),
        by_steps={str(steps): _step_figures(outcomes, steps) for steps in sorted({one.steps for one in outcomes})},
        states=dict(Counter(one.state for one in outcomes)),
        errors=dict(Counter(one.detail for one in outcomes if one.detail).most_common(_MOST_ERRORS)),
        client_late_s=max(one.late_s for one in outcomes),
    )


def burst_throughput(outcomes: Sequence[Outcome]) -> float:
    """Pictures a second of requests that came all at once: until the last was there."""
    drawn = [one.latency_s for one in outcomes if one.state == "drawn"]
    return len(drawn) / max(drawn) if drawn else 0.0


def latency_of(outcomes: Sequence[Outcome]) -> Latency:
    """Mean and percentiles of what the requests waited."""
    waits = np.array([one.waited_s for one in outcomes])
    p50, p95, p99 = (float(value) for value in np.percentile(waits, [50, 95, 99]))
    return Latency(float(waits.mean()), p50, p95, p99)


def _step_figures(outcomes: Sequence[Outcome], steps: int) -> StepFigures:
    part = [one for one in outcomes if one.steps == steps]
    return StepFigures(len(part), sum(one.in_time for one in part) / len(part), latency_of(part))


def as_json(figures: Figures) -> dict[str, object]:
    """As they lie in the results."""
    return asdict(figures)
