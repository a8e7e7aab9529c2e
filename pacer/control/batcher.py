"""Which requests step together: pure bookkeeping over numbers, used by the worker and by simulations alike.

Rows are batched, not requests: a guided step with a fresh unconditional output costs two rows, any other step one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

from pacer.control.policies import POLICIES, Policy
from pacer.control.requests import Request
from pacer.control.turns import TurnCost

RowLimit = Callable[[Hashable], int]
"""Most rows of one network call, by what the requests of a batch have in common."""

CostOf = Callable[[Hashable], TurnCost]
"""What a turn costs, predicted, by the same."""


class Batcher:
    """Holds the admitted requests; picks, at each turn, the most urgent and those compatible with it.

    Whatever the policy, none is starved: from `aging_s` on, the request that has been here longest takes the lead in
    the turn after any in which it was passed over.

    Args:
        slots: most requests held at once.
        max_rows: most rows of one network call, the same for all or by key; a single request may exceed it, alone.
        policy: the order of requests.
        aging_s: seconds after which a request no longer waits for its policy's favour.

    Raises:
        ValueError: slots or max_rows below 1.
    """

    def __init__(
        self,
        slots: int,
        max_rows: int | RowLimit,
        policy: Policy = POLICIES["balanced"],
        aging_s: float = float("inf"),
    ) -> None:
        if slots < 1 or (isinstance(max_rows, int) and max_rows < 1):
            raise ValueError(f"slots and max_rows must be at least 1, are {slots} and {max_rows}")
        self._slots = slots
        self._max_rows: RowLimit = (lambda _key: max_rows) if isinstance(max_rows, int) else max_rows
        self._policy = policy
        self._aging_s = aging_s
        self._requests: dict[str, Request] = {}
        self._stepped: frozenset[str] = frozenset()  # in the last turn

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

    def pick(self, now_s: float, cost: TurnCost | CostOf) -> tuple[Request, ...]:
        """The next batch: the most urgent request, and those compatible with it, by urgency.

        Args:
            now_s: the time now.
            cost: of a turn, predicted; the same for all or by key.
        """
        urgency = self._policy.urgency
        keys = {request.key for request in self._requests.values()}
        costs = {key: cost if isinstance(cost, TurnCost) else cost(key) for key in keys}
        order = sorted(self._requests.values(), key=lambda request: urgency(request, now_s, costs[request.key]))
        order = [*self._passed_over(now_s), *order]
        if not order:
            return ()
        key = order[0].key
        company = {request.id: request for request in order if request.key == key}
        batch = _fill(tuple(company.values()), self._max_rows(key))
        return _in_time(batch, now_s, costs[key]) if self._policy.minds_deadlines else batch

    def _passed_over(self, now_s: float) -> Sequence[Request]:
        """The request that has been here longest, if it has aged and did not step in the last turn."""
        oldest = next(iter(self._requests.values()), None)
        if oldest is None or oldest.id in self._stepped or now_s - oldest.admitted_s < self._aging_s:
            return ()
        return (oldest,)

    def advance(self, ids: Iterable[str]) -> tuple[Request, ...]:
        """Count one evaluation for each id; returns those now finished, which leave.

        Raises:
            KeyError: an id is not admitted.
        """
        finished, stepped = [], list(ids)
        self._stepped = frozenset(stepped)
        for request_id in stepped:
            request = self._requests[request_id]
            moved = replace(request, step=request.step + 1)
            if moved.finished:
                del self._requests[request_id]
                finished.append(moved)
            else:
                self._requests[request_id] = moved
        return tuple(finished)

    def replan(self, request_id: str, rows: tuple[int, ...]) -> None:
        """Give a request other evaluations after those that it has behind it.

        Args:
            request_id: of one that is here.
            rows: network rows of each of its evaluations, those behind it included.

        Raises:
            KeyError: it is not here.
            ValueError: the rows have nothing left to do, or say otherwise of what is done.
        """
        request = self._requests[request_id]
        done = request.step
        if rows[:done] != request.rows[:done] or len(rows) <= done or min(rows) < 1:
            raise ValueError(f"rows: must begin with {request.rows[:done]} and go on, are {rows}")
        self._requests[request_id] = replace(request, rows=rows)

    def remove(self, request_id: str) -> Request | None:
        """Drop a request that was cancelled or has failed; None where it is not here."""
        return self._requests.pop(request_id, None)


def _fill(order: Sequence[Request], max_rows: int) -> tuple[Request, ...]:
    """The longest prefix whose next steps fit into max_rows; always the first."""
    chosen: list[Request] = []
    used = 0
    for request in order:
        if chosen and used + request.next_rows > max_rows:
            break
        chosen.append(request)
        used += request.next_rows
    return tuple(chosen)


def _in_time(batch: Sequence[Request], now_s: float, cost: TurnCost) -> tuple[Request, ...]:
    """The longest prefix so small that each of it that can be in time alone is in time in turns of its size.

    A turn lasts the longer the more rows it has. Were every batch filled, each of its members would take as long as
    the whole batch, and under load most would be late that could have been in time one after the other. Who can be
    done so early that a turn's overrun would not make it late is to be.
    """
    rows = sum(request.next_rows for request in batch)
    spare_s = cost.overrun * cost.seconds(1, rows)
    slowest = [_slowest_turn_s(request, now_s, cost, spare_s) for request in batch]
    count = len(batch)
    while count > 1 and cost.seconds(1, rows) > min(slowest[:count]):
        count -= 1
        rows -= batch[count].next_rows
    return tuple(batch[:count])


def _slowest_turn_s(request: Request, now_s: float, cost: TurnCost, spare_s: float) -> float:
    """How long the turns may last with which it is in time, seconds; any length if it will be late anyway."""
    slack_s = request.slack_s(now_s, cost)
    if slack_s < 0:
        return float("inf")
    left_s = request.deadline_s - now_s
    return (left_s - spare_s if slack_s >= spare_s else left_s) / request.turns_left
