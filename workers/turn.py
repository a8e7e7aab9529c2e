"""What a turn of the engine did, and how requests end in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacer.errors import ErrorKind
from pacer.jobs.messages import Claim


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished picture, and the seconds that its stages took."""

    claim: Claim
    pixels: NDArray[np.uint8]
    encode_s: float
    denoise_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that ended without a picture."""

    claim: Claim
    kind: ErrorKind
    detail: str


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A request that another worker, or this one later, must draw: there was no memory for it."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did: its requests, its network rows, its seconds, and what ended in it."""

    stepped: tuple[str, ...]
    rows: int
    seconds: float
    ended: tuple[Drawn | Failed | GivenBack, ...]
