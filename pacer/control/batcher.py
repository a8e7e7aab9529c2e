"""Which requests step together: pure bookkeeping over numbers, used by the worker and by simulations alike.

Rows are batched, not requests: a guided step with a fresh unconditional output costs two rows, any other step one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from pacer.control.turns import TurnCost


@dataclass(frozen=True, slots=True)
class Request:
    """A request between two steps.

    Attributes:
        id: its name, unique among those admitted.
        key: what must be equal among requests that share a network call.
        rows: network rows of each of its E evaluations, each >= 1.
        deadline_s: when it must be done, on the clock that `pick` is given.
        step: evaluations done, 0..E; set by the batcher.
    """

    id: str
    key: Hashable
    rows: tuple[int, ...]
    deadline_s: float
    step: int = 0

    @property
    def finished(self) -> bool:
        """Whether all of its evaluations are done."""
        return self.step >= len(self.rows)

    @property
    def turns_left(self) -> int:
        """Evaluations that it still needs."""
        return len(self.rows) - self.step

    @property
    def rows_left(self) -> int:
        """Network rows that it still needs."""
        return sum(self.rows[self.step :])


class Batcher:
    """Holds the admitted requests; picks, at each turn, the compatible set with the least slack.

    Args:
        slots: most requests held at once.
        max_rows: most rows of one network call; a single request may exceed it, alone.

    Raises:
        ValueError: slots or max_rows below 1.
    """

    def __init__(self, slots: int, max_rows: int) -> None:
        if slots < 1 or max_rows < 1:
            raise ValueError(f"slots and max_rows must be at least 1, are {slots} and {max_rows}")
        self._slots = slots
        self._max_rows = max_rows
        self._requests: dict[str, Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    @property
    def free(self) -> int:
        """Requests that can still be admitted."""
        return self._slots - len(self._requests)

    @property
    def requests(self) -> tuple[Request, ...]:
        """Those admitted, in order of admission."""
        return tuple(self._requests.values())

    def admit(self, request: Request) -> None:
        """Take a request in.

        Raises:
            ValueError: no slot is free, the id is taken, or the request has nothing to do.
        """
        if not self.free:
            raise ValueError(f"all {self._slots} slots are taken")
        if request.id in self._requests:
            raise ValueError(f"request {request.id!r} is admitted already")
        if request.finished or min(request.rows) < 1:
            raise ValueError(f"request {request.id!r} needs at least one evaluation left, each of at least one row")
        self._requests[request.id] = request

    def pick(self, now_s: float, cost: TurnCost) -> tuple[Request, ...]:
        """The next batch: the request with the least slack, and those compatible with it, by slack.

        Slack is deadline - now - predicted remaining time; ties go to the earlier admitted.

        Args:
            now_s: the time now.
            cost: of a turn, predicted.
        """
        order = sorted(self._requests.values(), key=lambda request: _slack(request, now_s, cost))
        if not order:
            return ()
        leader = order[0]
        return _fill([request for request in order if request.key == leader.key], self._max_rows)

    def advance(self, ids: Iterable[str]) -> tuple[Request, ...]:
        """Count one evaluation for each id; returns those now finished, which leave.

        Raises:
            KeyError: an id is not admitted.
        """
        finished = []
        for request_id in ids:
            request = self._requests[request_id]
            moved = replace(request, step=request.step + 1)
            if moved.finished:
                del self._requests[request_id]
                finished.append(moved)
            else:
                self._requests[request_id] = moved
        return tuple(finished)

    def remove(self, request_id: str) -> Request | None:
        """Drop a request that was cancelled or has failed; None where it is not here."""
        return self._requests.pop(request_id, None)


def _slack(request: Request, now_s: float, cost: TurnCost) -> float:
    return request.deadline_s - now_s - cost.seconds(request.turns_left, request.rows_left)


def _fill(order: Sequence[Request], max_rows: int) -> tuple[Request, ...]:
    """The longest prefix whose next steps fit into max_rows; always the first."""
    chosen: list[Request] = []
    used = 0
    for request in order:
        rows = request.rows[request.step]
        if chosen and used + rows > max_rows:
            break
        chosen.append(request)
        used += rows
    return tuple(chosen)
