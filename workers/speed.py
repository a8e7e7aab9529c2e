"""How fast this worker is: what the planner predicts from, and the batcher reckons slack with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pacer.control.latency_spread import HALF, MOST, LatencySpread
from pacer.control.picture_size import row_seconds
from pacer.control.turns import Gaps, Overruns, TurnCost
from pacer.jobs.messages import WorkerSpeed

_WEIGHT = 0.1  # of the newest measurement, in a moving average
_FIRST = 0.5  # of the first that a job gave, beside what was measured before any
_FORGOTTEN = 0.05  # of older turns at each turn; about the last 20 count
_SURE = 20  # turns after which one can be odd
_ODD = 2.0  # times that a turn lasts at most, of what was predicted: others had the cores for a moment
_FIRST_GUESS = TurnCost(0.0, 0.05)  # before anything was measured
_TRUST = 0.5  # in one turn of an idle worker
_MOST_CHANGE = 4.0  # times faster that one such turn may say it is
_MOST_SIZES = 32  # that are remembered, those drawn last
_ANSWER_S = 0.01  # from the store to the caller, which no worker sees: an event, a read and an answer on a busy host


@dataclass(frozen=True, slots=True)
class _Moments:
    """Of rows and seconds, forgetting: their means, and their spread about them."""

    turns: int
    rows: float
    seconds: float
    rows_rows: float
    rows_seconds: float


class TurnFit:
    """The line of `TurnCost` through the turns of late: least squares that forget exponentially.

    The slope is forgotten only as fast as batches of other sizes teach it anew: a thousand full batches in a row say
    nothing of what one image alone takes, so they must not wash out what is known of it.
    """

    def __init__(self) -> None:
        self._moments: _Moments | None = None  # replaced whole, since another thread reads it

    def note(self, rows: int, seconds: float) -> None:
        """Take in a turn of so many rows; an odd one counts as twice what it should have lasted."""
        if self._moments is not None and self._moments.turns >= _SURE:
            seconds = min(seconds, _ODD * self._cost_of(self._moments).seconds(1, rows))
        old = self._moments or _Moments(0, rows, seconds, 0.0, 0.0)
        weight = max(_FORGOTTEN, 1 / (old.turns + 1))
        more_rows, more_seconds = rows - old.rows, seconds - old.seconds
        spread = (1 - weight) * more_rows**2
        kept = 1 - min(weight, spread / old.rows_rows) if old.rows_rows else 0.0
        self._moments = _Moments(
            old.turns + 1,
            old.rows + weight * more_rows,
            old.seconds + weight * more_seconds,
            kept * old.rows_rows + spread,
            kept * old.rows_seconds + (1 - weight) * more_rows * more_seconds,
        )

    def scale(self, factor: float) -> None:
        """Take every turn of before for so many times as long."""
        if self._moments is not None:
            old = self._moments
            self._moments = replace(old, seconds=factor * old.seconds, rows_seconds=factor * old.rows_seconds)

    @property
    def cost(self) -> TurnCost | None:
        """The line, with neither part below 0; None before the first turn.

        Until batches of two sizes were seen, a call by itself costs nothing.
        """
        return None if self._moments is None else self._cost_of(self._moments)

    @staticmethod
    def _cost_of(known: _Moments) -> TurnCost:
        row_s = known.rows_seconds / known.rows_rows if known.rows_rows else known.seconds / known.rows
        turn_s = known.seconds - row_s * known.rows
        if row_s < 0:
            return TurnCost(known.seconds, 0.0)
        return TurnCost(turn_s, row_s) if turn_s > 0 else TurnCost(0.0, known.seconds / known.rows)


class _Mean:
    """Seconds on average, of late."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._weight = _WEIGHT

    def begin(self, seconds: float) -> None:
        """Take what was measured before the first job."""
        self.seconds, self._weight = seconds, _FIRST

    def note(self, seconds: float) -> None:
        """Take in a measurement."""
        weight, self._weight = self._weight, _WEIGHT
        self.seconds = _mix(self.seconds, seconds, weight)

    def scale(self, factor: float) -> None:
        """Take everything of before for so many times as long."""
        self.seconds = None if self.seconds is None else factor * self.seconds


class SpeedMeter:
    """Seconds of a turn, and moving averages of those per prompt and per decoded picture.

    The line of turns is of one size of pictures: the one that is set, else the first. Of others it is known what a row
    adds to a turn, once they are drawn. Pixels are width x height; 0 stands for the line's own size.

    Args:
        max_rows: most rows of a turn, as far as is known before the first one.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        """Of pictures of the default size."""
        self.pixels = 0
        """Of the size that the line is of; 0 before it is known."""
        self._rows: dict[int, float] = {}  # of other sizes, replaced whole, since another thread reads it
        self._turns = TurnFit()
        self._gaps = Gaps()
        self._overruns = Overruns()
        self._spread = LatencySpread()
        self._pause_s = 0.0  # before the turn under way
        self._encode, self._decode, self._deliver = _Mean(), _Mean(), _Mean()

    @property
    def cost(self) -> TurnCost:
        """Predicted seconds of a turn, with what comes before the next."""
        return replace(self._gaps.between(self._turns.cost or _FIRST_GUESS), overrun=self._overruns.share)

    def cost_at(self, pixels: int) -> TurnCost:
        """The same of a turn of pictures of a size."""
        cost = self.cost
        if not self.pixels or pixels in (0, self.pixels):
            return cost
        return replace(cost, row_s=row_seconds(pixels, (self.pixels, cost.row_s), self._rows))

    def stepped(self, seconds: float, rows: int, pixels: int = 0) -> None:
        """Note a turn of pictures of a size."""
        self.pixels = self.pixels or pixels
        own, line = pixels in (0, self.pixels), self._turns.cost
        if line is not None and (own or pixels in self._rows):
            self._overruns.note(self._pause_s + seconds, self.cost_at(pixels).seconds(1, rows))
        self._pause_s = 0.0
        if own:
            self._turns.note(rows, seconds)
        else:
            self._note_row(pixels, max(0.0, seconds - (line or _FIRST_GUESS).turn_s) / rows)

    def _note_row(self, pixels: int, seconds: float) -> None:
        """Note what a row of another size adds to a turn."""
        others = [(known, row_s) for known, row_s in self._rows.items() if known != pixels]
        self._rows = dict([*others[1 - _MOST_SIZES :], (pixels, _mix(self._rows.get(pixels), seconds))])

    def profiled(self, seconds: float, rows: int) -> None:
        """Note a turn that was made before the first job; nobody had predicted it."""
        self._turns.note(rows, seconds)

    def began(self, encode_s: float, decode_s: float) -> None:
        """Note what a prompt and a picture took before the first job."""
        self._encode.begin(encode_s)
        self._decode.begin(decode_s)

    def tried(self, seconds: float, rows: int) -> None:
        """Note a turn that an idle worker made to see how fast it is now: if it was faster, all else is as well.

        If it was slower it may have been an odd one, and deadlines would be refused for it; the next image will tell.
        """
        known = self._turns.cost
        if known is None or known.seconds(1, rows) <= 0:
            return
        ratio = min(max(seconds / known.seconds(1, rows), 1 / _MOST_CHANGE), 1.0)
        factor = 1 + _TRUST * (ratio - 1)
        self._turns.scale(factor)
        self._rows = {pixels: factor * row_s for pixels, row_s in self._rows.items()}
        self._encode.scale(factor)
        self._decode.scale(factor)

    def paused(self, seconds: float) -> None:
        """Note what lay between two turns that followed on each other, before the second is noted."""
        self._pause_s = seconds
        self._gaps.note(seconds)

    def encoded(self, seconds: float) -> None:
        """Note an admission."""
        self._encode.note(seconds)

    def decoded(self, seconds: float, pixels: int = 0) -> None:
        """Note a decoded picture of a size."""
        self._decode.note(seconds / self._relative(pixels))

    def delivered(self, seconds: float) -> None:
        """Note a picture's way from pixels into the store."""
        self._deliver.note(seconds)

    def ended(self, taken_s: float, predicted_s: float) -> None:
        """Note an image, from its arrival to its end, beside what its plan had said, above 0."""
        self._spread.note(taken_s, predicted_s)

    @property
    def tail_s(self) -> float:
        """Predicted seconds between the last step of a request and the picture in its caller's hands."""
        return self.tail_at(0)

    def tail_at(self, pixels: int) -> float:
        """The same of a picture of a size."""
        return (self._decode.seconds or 0.0) * self._relative(pixels) + self._deliver_s

    def _relative(self, pixels: int) -> float:
        return pixels / self.pixels if pixels and self.pixels else 1.0

    @property
    def _deliver_s(self) -> float:
        return (self._deliver.seconds or 0.0) + _ANSWER_S

    def snapshot(self) -> WorkerSpeed | None:
        """What to publish; None until a turn, a prompt and a picture were noted."""
        cost, encode_s, decode_s = self._turns.cost, self._encode.seconds, self._decode.seconds
        if cost is None or encode_s is None or decode_s is None:
            return None
        return WorkerSpeed(
            turn_seconds=cost.turn_s,
            row_seconds=cost.row_s,
            encode_seconds=encode_s,
            decode_seconds=decode_s,
            rows=self.max_rows,
            deliver_seconds=self._deliver_s,
            half_within=self._spread.within(HALF),
            most_within=self._spread.within(MOST),
            pixels=float(self.pixels),
            sizes=self._rows,
        )


def _mix(old: float | None, new: float, weight: float = _WEIGHT) -> float:
    return new if old is None else (1 - weight) * old + weight * new
