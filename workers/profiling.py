"""What a worker measures of itself before its first job, so that deadlines are judged from the start."""

from __future__ import annotations

import structlog

from workers.device import is_lost
from workers.networks import Networks
from workers.speed import SpeedMeter

_log = structlog.get_logger(__name__)

_FEW = 2  # rows of one guided image
_WITHIN_S = 5.0  # for turns of more rows


def profile(networks: Networks, meter: SpeedMeter, *, within_s: float = _WITHIN_S) -> None:
    """Time a prompt, a picture, and turns of two rows and of the most rows that fit, at the size that was warmed up.

    Args:
        networks: warmed up.
        meter: told of them; jobs correct it.
        within_s: seconds that turns of more than two rows may take together; they are of fewer rows, or left out, where
            that is too little.
    """
    meter.began(networks.try_prompt(), networks.try_picture())
    few_s = networks.try_turn(_FEW, untimed=0)
    meter.profiled(few_s, _FEW)
    # A call takes no longer than its rows would in twos, and three are made.
    more = min(networks.idle_rows, int(_FEW * within_s / (3 * max(few_s, 1e-6))))
    while more > _FEW:
        timed = _more(networks, more)
        if timed is not None:
            for seconds in timed:
                meter.profiled(seconds, more)
            meter.profiled(networks.try_turn(_FEW, untimed=0), _FEW)
            return
        more = min(more // 2, networks.idle_rows)


def _more(networks: Networks, rows: int) -> tuple[float, float] | None:
    """Seconds of two turns of so many rows; None where that is more than one call can do."""
    splits = networks.splits
    try:
        timed = networks.try_turn(rows), networks.try_turn(rows, untimed=0)
    except Exception as error:
        if is_lost(error):
            raise
        _log.warning("a turn of many rows failed; it is not measured", rows=rows, detail=str(error))
        return None
    return timed if networks.splits == splits else None
