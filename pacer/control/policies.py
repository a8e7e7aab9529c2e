"""In what order requests step: each policy is a pure function from a request to its urgency."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pacer.control.requests import Request
from pacer.control.turns import TurnCost

PolicyName = Literal["balanced", "fifo", "edf", "least_slack", "srpt"]

_FAR_S = 20.0  # a slack beyond which nothing is urgent

Urgency = tuple[float, ...]
"""What orders requests: the smallest goes first, and of equal ones the one admitted first."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An order of requests.

    Attributes:
        urgency: (request, now in seconds, predicted cost of a turn) -> what to sort by.
        minds_deadlines: whether a batch stays small enough for its members to be in time.
        late_last: whether what is late steps after everything that can still be in time.
    """

    urgency: Callable[[Request, float, TurnCost], Urgency]
    minds_deadlines: bool = True
    late_last: bool = False


def first_come(request: Request, now_s: float, cost: TurnCost) -> Urgency:  # noqa: ARG001 -- one signature for all
    """By admission."""
    return (request.admitted_s,)


def earliest_deadline(request: Request, now_s: float, cost: TurnCost) -> Urgency:  # noqa: ARG001 -- the same
    """By deadline (Liu and Layland, 1973), whatever is left to do."""
    return (request.deadline_s,)


def least_work_left(request: Request, now_s: float, cost: TurnCost) -> Urgency:  # noqa: ARG001 -- the same
    """By predicted remaining time: the least mean latency there is on one machine (Schrage, 1968)."""
    return (request.work_left_s(cost),)


def least_slack(request: Request, now_s: float, cost: TurnCost) -> Urgency:
    """By slack in classes of half an octave, in each the least work left first; what is late already comes last.

    Exact slack would make equal requests advance in turn, as each step gives the one that made it more slack than its
    neighbour, and all would end as late as the last. What can no longer be in time must not cost others their deadline.
    """
    slack_s, work_s = request.slack_s(now_s, cost), request.work_left_s(cost)
    if slack_s < 0:
        return (1.0, 0.0, work_s)
    turns = slack_s / max(cost.seconds(1, request.next_rows), 1e-9)
    return (0.0, math.floor(2 * math.log2(max(turns, 1.0))), work_s)


def balanced(request: Request, now_s: float, cost: TurnCost) -> Urgency:
    """By deadline where it is near, by remaining work where it is far or there is none; late ones last.

    Remaining work and slack make up the time to the deadline. More slack than `_FAR_S` counts as that much.
    """
    slack_s, work_s = request.slack_s(now_s, cost), request.work_left_s(cost)
    if slack_s < 0:
        return (1.0, work_s)
    return (0.0, work_s + min(slack_s, _FAR_S))


POLICIES: dict[PolicyName, Policy] = {
    "balanced": Policy(balanced, late_last=True),
    "fifo": Policy(first_come, minds_deadlines=False),
    "edf": Policy(earliest_deadline),
    "least_slack": Policy(least_slack, late_last=True),
    "srpt": Policy(least_work_left),
}
"""The policies by the name that a setting gives them."""
