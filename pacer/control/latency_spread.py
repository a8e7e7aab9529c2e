"""By what factor what images take differs from what was predicted: what is known of late, for quotes to tell.

Who comes later, and how long turns will last, nobody knows when a request is planned. So the spread is measured where
images end, as the ratio of the seconds that they took to those that had been predicted, and told as quantiles.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from pacer.jobs.messages import WorkerSpeed

KEPT = 200
"""Images that are remembered."""

HALF, MOST = 0.5, 0.95
"""The shares of images that quotes tell of."""

_SUPPOSED = tuple(np.geomspace(0.5, 2.0, 8).tolist())
"""Before images were drawn: as many ratios, which the first ones join and later ones replace."""


class Times(TypedDict):
    """What a plan tells of time, by the names that it has there."""

    predicted_seconds: float | None
    predicted_wait_seconds: float | None
    latency_seconds: tuple[float, float] | None


NO_TIMES = Times(predicted_seconds=None, predicted_wait_seconds=None, latency_seconds=None)
"""Before workers have measured."""


def times_of(speed: WorkerSpeed, service_s: float, wait_s: float | None) -> Times:
    """What a plan tells of an image: the two parts as expected, and how long both together take at the most.

    Args:
        speed: what workers measured, the spread of late among it.
        service_s: seconds of the image alone.
        wait_s: what others add; None where nobody knew.
    """
    expected_s = service_s + (wait_s or 0.0)
    return Times(
        predicted_seconds=service_s,
        predicted_wait_seconds=wait_s,
        latency_seconds=(speed.half_within * expected_s, speed.most_within * expected_s),
    )


class LatencySpread:
    """Ratios of taken to predicted seconds."""

    def __init__(self) -> None:
        self._ratios = _SUPPOSED  # replaced whole, since another thread reads it

    def note(self, taken_s: float, predicted_s: float) -> None:
        """Take in an image, from its arrival to its end.

        Args:
            taken_s: seconds.
            predicted_s: the same as its plan said, above 0.
        """
        self._ratios = (*self._ratios[1 - KEPT :], taken_s / predicted_s)

    def within(self, share: float) -> float:
        """The factor within which so large a share of the images ended.

        Args:
            share: above 0 and below 1.
        """
        return float(np.quantile(self._ratios, share))
