"""One worker's day in a moment: arrivals, the batcher, and turns that cost what they are predicted to cost."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from pacer.control.batcher import Batcher
from pacer.control.requests import Request
from pacer.control.turns import TurnCost


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it comes in.

    Attributes:
        at_s: when.
        rows: network rows of each of its evaluations.
        allowed_s: seconds until its deadline, or the slack that one without a deadline is given.
        best_effort: whether it has no deadline.
    """

    at_s: float
    rows: tuple[int, ...]
    allowed_s: float
    best_effort: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it: when it was done, or None where its deadline passed before its last step."""

    arrival: Arrival
    done_s: float | None

    @property
    def latency_s(self) -> float | None:
        """Seconds from arrival to the end."""
        return None if self.done_s is None else self.done_s - self.arrival.at_s

    @property
    def in_time(self) -> bool:
        """Whether its deadline was met."""
        return self.latency_s is not None and self.latency_s <= self.arrival.allowed_s


def simulate(arrivals: Sequence[Arrival], batcher: Batcher, cost: TurnCost) -> list[Outcome]:
    """Let arrivals pass through an empty batcher; the queue before it is in order of the latest start, as the store's.

    Args:
        arrivals: by time.
        batcher: with its slots, rows and policy.
        cost: of a turn, exactly.

    Returns:
        One outcome for each arrival, in their order.
    """
    worker = _Worker(arrivals, batcher, cost)
    while len(worker.ended) < len(arrivals):
        worker.turn()
    return [Outcome(arrival, worker.ended[str(place)]) for place, arrival in enumerate(arrivals)]


class _Worker:
    def __init__(self, arrivals: Sequence[Arrival], batcher: Batcher, cost: TurnCost) -> None:
        self._arrivals = arrivals
        self._batcher = batcher
        self._cost = cost
        self._come = 0
        self._waiting: list[tuple[float, int]] = []
        self._now_s = 0.0
        self.ended: dict[str, float | None] = {}

    def turn(self) -> None:
        self._receive()
        self._expire()
        while self._waiting and self._batcher.free:
            self._admit(heapq.heappop(self._waiting)[1])
        batch = self._batcher.pick(self._now_s, self._cost)
        if batch:
            self._now_s += self._cost.seconds(1, sum(request.next_rows for request in batch))
            for request in self._batcher.advance([request.id for request in batch]):
                self.ended[request.id] = self._now_s
        elif self._come < len(self._arrivals):
            self._now_s = self._arrivals[self._come].at_s

    def _receive(self) -> None:
        while self._come < len(self._arrivals) and self._arrivals[self._come].at_s <= self._now_s:
            arrival = self._arrivals[self._come]
            work_s = self._cost.seconds(len(arrival.rows), sum(arrival.rows))
            heapq.heappush(self._waiting, (arrival.at_s + arrival.allowed_s - work_s, self._come))
            self._come += 1

    def _expire(self) -> None:
        """Give up what is past its deadline, as the engine does."""
        for request in self._batcher.requests:
            if request.deadline_s <= self._now_s and not self._arrivals[int(request.id)].best_effort:
                self._batcher.remove(request.id)
                self.ended[request.id] = None

    def _admit(self, place: int) -> None:
        arrival = self._arrivals[place]
        deadline_s = arrival.at_s + arrival.allowed_s
        if deadline_s <= self._now_s and not arrival.best_effort:
            self.ended[str(place)] = None
            return
        self._batcher.admit(Request(str(place), "all", arrival.rows, deadline_s, admitted_s=self._now_s))
