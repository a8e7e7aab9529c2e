"""The figures that have a bar: Pacer against the best of its peers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from benchmarks.serving.results import Row
from benchmarks.serving.servers import SERVERS

BEYOND = 1.5
"""The load, over that at which the best peer peaks, at which goodput is compared once more."""

GOODPUT = "goodput_per_s"
"""Pictures in time a second, as rows name it."""

SHORT = "4"
"""The step budget whose latency is compared."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure.

    Attributes:
        figure: what it is.
        pacer: Pacer's own.
        best_peer: the best peer's.
        peer: which peer that is.
        ratio: Pacer's over the peer's; None where one of them is missing or zero.
        bar: what is wanted of the ratio.
        at: whether the bar is the least or the most.
        asked: what Pacer's own would be if all that was asked of it had been in time; None where nothing limits it.
    """

    figure: str
    pacer: float | None
    best_peer: float | None
    peer: str | None
    bar: float
    at: Literal["least", "most"]
    asked: float | None = None

    @property
    def ratio(self) -> float | None:
        """Pacer's over the peer's."""
        return self.pacer / self.best_peer if self.pacer is not None and self.best_peer else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where nothing can be said."""
        if self.ratio is None:
            return None
        return self.ratio >= self.bar if self.at == "least" else self.ratio <= self.bar


def ratios_of(rows: Sequence[Row], policy: str) -> list[Ratio]:
    """All figures, as far as the rows go."""
    good = [row for row in rows if "failed" not in row]
    loads = [row for row in good if row["kind"] == "load"]
    own = [row for row in loads if _is_pacer(row, policy)]
    peers = [row for row in loads if SERVERS[row["server"]].peer]
    peak = _best(peers, GOODPUT)
    load = None if peak is None else float(peak["load"])
    beyond = None if load is None else beyond_of(load)
    bursts = [row for row in good if row["kind"] == "burst"]
    return [
        _ratio("maximum goodput over all loads", own, peers, GOODPUT, 2.0),
        *_beyond(_at(own, beyond), _at(peers, beyond), peak),
        _short_latency(_at(own, load), peak),
        _ratio(
            "throughput at saturation",
            [row for row in bursts if _is_pacer(row, policy)],
            [row for row in bursts if SERVERS[row["server"]].peer],
            "throughput_per_s",
            1.3,
        ),
    ]


def peak_load(rows: Iterable[Row]) -> float | None:
    """The load at which the best peer peaks; None without any peer's row."""
    peers = [row for row in rows if row["kind"] == "load" and "failed" not in row and SERVERS[row["server"]].peer]
    peak = _best(peers, GOODPUT)
    return None if peak is None else float(peak["load"])


def still_rising(rows: Iterable[Row], server: str, policy: str | None) -> float | None:
    """The highest load of a server where it does best there; None where it did better at a lower one, or nowhere.

    Args:
        rows: all that was measured.
        server: its name.
        policy: its policy, if it has one.
    """
    own = [row for row in rows if row["kind"] == "load" and (row["server"], row["policy"]) == (server, policy)]
    highest = max(own, key=lambda row: float(row["load"]), default=None)
    if highest is None or "failed" in highest or _best([row for row in own if "failed" not in row], GOODPUT) != highest:
        return None
    return float(highest["load"])


def beyond_of(load: float) -> float:
    """The load beyond the peak, as rows name it."""
    return round(BEYOND * load, 6)


def as_json(ratio: Ratio) -> dict[str, Any]:
    """As it lies in the results."""
    return {**asdict(ratio), "ratio": ratio.ratio, "met": ratio.met}


def _is_pacer(row: Row, policy: str) -> bool:
    return bool(row["server"] == "pacer" and row["policy"] == policy)


def _at(rows: Iterable[Row], load: float | None) -> list[Row]:
    return [row for row in rows if row["load"] == load]


def _best(rows: Sequence[Row], figure: str) -> Row | None:
    return max(rows, key=lambda row: float(row[figure]), default=None)


def _ratio(name: str, own: Sequence[Row], peers: Sequence[Row], figure: str, bar: float) -> Ratio:
    mine, theirs = _best(own, figure), _best(peers, figure)
    return Ratio(
        figure=name,
        pacer=None if mine is None else mine[figure],
        best_peer=None if theirs is None else theirs[figure],
        peer=None if theirs is None else theirs["server"],
        bar=bar,
        at="least",
    )


def _beyond(own: Sequence[Row], peers: Sequence[Row], peak: Row | None) -> list[Ratio]:
    """Against the peer that peaked, and against whichever is best there."""
    name = f"goodput at {BEYOND:g} x the load at which the best peer peaks"
    peaked = [row for row in peers if peak is not None and row["server"] == peak["server"]]
    both = (_ratio(f"{name}, against that peer", own, peaked, GOODPUT, 3.0),
            _ratio(f"{name}, against the best there", own, peers, GOODPUT, 3.0))  # fmt: skip
    return [replace(each, asked=_asked(own)) for each in both]


def _asked(own: Sequence[Row]) -> float | None:
    """Pictures a second that were asked for."""
    share = own[0]["in_time_share"] if own else 0.0
    return float(own[0][GOODPUT]) / share if share else None


def _short_latency(own: Sequence[Row], peak: Row | None) -> Ratio:
    def mean_s(row: Row | None) -> float | None:
        part = None if row is None else row["by_steps"].get(SHORT)
        return None if part is None else float(part["latency_s"]["mean"])

    name = f"mean latency of {SHORT}-step requests at the load where the best peer peaks, seconds"
    mine = mean_s(own[0]) if own else None
    return Ratio(name, mine, mean_s(peak), None if peak is None else peak["server"], 1 / 3, "most")
