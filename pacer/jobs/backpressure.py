"""When to come back to a full queue."""

from __future__ import annotations

LEAST_S = 1.0
MOST_S = 600.0
UNMEASURED_S = 5.0


def retry_after_s(
    excess: int, *, departures: int, window_s: float, predicted_s: float | None = None, workers: int = 0
) -> float:
    """Seconds until so many places are free that a refused request fits.

    From the measured drain rate; before anything was measured, from the predicted service time shared by the workers.

    Args:
        excess: jobs that must leave the queue first, >= 1.
        departures: jobs that were finished lately.
        window_s: busy seconds in which they were.
        predicted_s: predicted service time of one job, seconds.
        workers: live workers.

    Returns:
        Seconds in [1, 600].
    """
    if departures > 0 and window_s > 0:
        wait_s = excess * window_s / departures
    elif predicted_s is not None:
        wait_s = excess * predicted_s / max(1, workers)
    else:
        wait_s = UNMEASURED_S
    return min(MOST_S, max(LEAST_S, wait_s))
