"""What a worker measured of itself, as JSON: the fields that workers publish."""

from __future__ import annotations

import math

import msgspec

from pacer.jobs.messages import WorkerSpeed


def read_speed(text: bytes) -> WorkerSpeed:
    """Read and check a worker's speed.

    Raises:
        ValueError: it is no JSON, a field is missing, unknown or of the wrong type, or a number makes no sense.
    """
    try:
        speed = msgspec.json.decode(text, type=WorkerSpeed)
    except msgspec.DecodeError as error:
        names = ", ".join(WorkerSpeed.__struct_fields__)
        raise ValueError(f"{error}; a worker's speed has the numbers {names}") from error
    return checked(speed)


def checked(speed: WorkerSpeed) -> WorkerSpeed:
    """The speed, if such a worker could be.

    Raises:
        ValueError: names the field.
    """
    numbers = {name: value for name, value in msgspec.structs.asdict(speed).items() if name != "sizes"}
    for name, value in (numbers | {f"sizes: {pixels}": row_s for pixels, row_s in speed.sizes.items()}).items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}: must be 0 or more and finite, is {value:g}")
    if speed.turn_seconds + speed.row_seconds <= 0:
        raise ValueError("turn_seconds and row_seconds: one of them must be above 0, or a worker would have no end")
    if speed.rows < 1:
        raise ValueError(f"rows: must be at least 1, is {speed.rows:g}")
    return speed
