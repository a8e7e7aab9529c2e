"""Ways to serve the same wishes with the same server: what requests say, and which of them step first."""

from __future__ import annotations

from dataclasses import dataclass

from pacer.control.policies import PolicyName
from pacer.settings import Settings


@dataclass(frozen=True, slots=True)
class Way:
    """One way.

    Attributes:
        name: in tables.
        policy: of the workers.
        fixed: whether every picture has the fixed steps.
        told: whether requests name their deadlines.
    """

    name: str
    policy: PolicyName
    fixed: bool
    told: bool


WAYS: tuple[Way, ...] = (
    Way("fixed, first come", "fifo", fixed=True, told=False),
    Way("fixed, least slack", "least_slack", fixed=True, told=True),
    Way("budget", Settings.model_fields["policy"].default, fixed=False, told=True),
)
