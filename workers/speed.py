"""How fast this worker is, as moving averages that the planner predicts from."""

from __future__ import annotations

from pacer.jobs.messages import WorkerSpeed

_WEIGHT = 0.1  # of the newest measurement
_FIRST_GUESS_S = 0.05  # per row, before anything was measured


class SpeedMeter:
    """Moving averages of the seconds per network row, prompt and decoded picture."""

    def __init__(self) -> None:
        self._row: float | None = None
        self._encode: float | None = None
        self._decode: float | None = None

    @property
    def row_seconds(self) -> float:
        """Predicted seconds of one network row."""
        return _FIRST_GUESS_S if self._row is None else self._row

    def stepped(self, seconds: float, rows: int) -> None:
        """Note a turn."""
        self._row = _mix(self._row, seconds / rows)

    def encoded(self, seconds: float) -> None:
        """Note an admission."""
        self._encode = _mix(self._encode, seconds)

    def decoded(self, seconds: float) -> None:
        """Note a decoded picture."""
        self._decode = _mix(self._decode, seconds)

    def snapshot(self) -> WorkerSpeed | None:
        """What to publish; None until a picture was drawn."""
        if self._row is None or self._encode is None or self._decode is None:
            return None
        return WorkerSpeed(row_seconds=self._row, encode_seconds=self._encode, decode_seconds=self._decode)


def _mix(old: float | None, new: float) -> float:
    return new if old is None else (1 - _WEIGHT) * old + _WEIGHT * new
