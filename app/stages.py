"""What a worker's stages take, for commands that ask no gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pacer.control.simulation.speed_file import checked, read_speed
from pacer.jobs.connection import connect_async
from pacer.jobs.messages import WorkerSpeed
from pacer.jobs.store import JobStore
from pacer.settings import Settings

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What a worker's stages take: as live workers publish it, a file, or milliseconds; what is None was not said."""

    live: bool | None = None
    speed: Path | None = None
    turn_ms: float | None = None
    row_ms: float | None = None
    encode_ms: float | None = None
    decode_ms: float | None = None
    deliver_ms: float | None = None
    rows: int | None = None


def read_stages(stages: Stages, settings: Settings, model: str) -> WorkerSpeed:
    """A worker's speed: as the model's live workers publish it, from the file, or from the milliseconds.

    Raises:
        ValueError: two of them are given, none is, or one is wrong.
        PacerError: store_unavailable.
    """
    said = [f"--{name.replace('_', '-')}" for name, value in asdict(stages).items() if value is not None]
    if said[:1] in (["--live"], ["--speed"]) and len(said) > 1:
        raise ValueError(f"{said[0]} says it all; leave out {said[1]}")
    if stages.live:
        return asyncio.run(_published(settings, model))
    if stages.speed is not None:
        return named(stages.speed, lambda path: read_speed(path.read_bytes()))
    if stages.turn_ms is None or stages.row_ms is None:
        raise ValueError("say what a network call takes: --turn-ms and --row-ms, --speed with a file, or --live")
    milliseconds = (stages.turn_ms, stages.row_ms, stages.encode_ms, stages.decode_ms)
    turn_s, row_s, encode_s, decode_s = ((value or 0.0) / 1000 for value in milliseconds)
    rows = settings.max_batch_rows if stages.rows is None else stages.rows
    return checked(WorkerSpeed(turn_s, row_s, encode_s, decode_s, rows, (stages.deliver_ms or 0.0) / 1000))


async def _published(settings: Settings, model: str) -> WorkerSpeed:
    if settings.redis_url is None:
        raise ValueError("--live asks the store of the workers; say where it is by PACER_REDIS_URL")
    async with connect_async(settings.redis_url) as client:
        speed = await JobStore(client, settings).speed(model)
    if speed is None:
        raise ValueError(f"--live: no worker of {model} has measured yet; each has when it is ready")
    return speed


def named(path: Path, read: Callable[[Path], _Read]) -> _Read:
    """What is done with a file.

    Raises:
        ValueError: what went wrong, with the file's name.
    """
    try:
        return read(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
