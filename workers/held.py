"""What the engine knows of a job that it holds."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from pacer.jobs.messages import Claim
from workers.loras import LoraSet
from workers.memory import Shape


class Company(NamedTuple):
    """What is equal among the jobs that step together."""

    shape: Shape
    loras: LoraSet
    alone: str | None  # a job that takes no other with it
    pixels: int  # of their pictures, width x height


def company_of(key: Hashable) -> Company:
    """The company that the batcher was given as a key.

    Raises:
        TypeError: it was given something else.
    """
    if not isinstance(key, Company):
        raise TypeError(f"{key!r} is no company of jobs: this is a bug")
    return key


@dataclass(slots=True, eq=False)
class Held:
    """A job in the engine, from its admission to its end."""

    claim: Claim
    admitted_s: float
    ends_s: float  # when its last step must be done, or its picture is worth nothing
    loras: LoraSet = ()
    encode_s: float = 0.0
    stepping_s: float = 0.0  # when its prompt was encoded
    step: int = 0
