"""By what factor what images take differs from what was predicted: what is known of late, for quotes to tell.

Who comes later, and how long turns will last, nobody knows when a request is planned. So the spread is measured where
images end, as the ratio of the seconds that they took to those that had been predicted, and told as quantiles.
"""

from __future__ import annotations

import numpy as np

KEPT = 200
"""Images that are remembered."""

HALF, MOST = 0.5, 0.95
"""The shares of images that quotes tell of."""

_SUPPOSED = tuple(np.geomspace(0.5, 2.0, 8).tolist())
"""Before images were drawn: as many ratios, which the first ones join and later ones replace."""


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
