"""Measured quality: delivered pictures against the teacher's of the same prompt and noise."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.budget.asking import ROUTE, Answer, body
from benchmarks.budget.wishes import Wish
from workers.shapes.recognise import read
from workers.shapes.score import passes

_TEACHER = {"schedule": "uniform", "solver": "euler"}
_TEACHER_STEPS = 100
_AT_ONCE = 8
_SAME_DB = 99.0  # of equal pictures
_NO_FLOOR = "none"


def picked(delivered: Mapping[float, Sequence[Answer]], floored: int, others: int) -> list[tuple[float, Answer]]:
    """Pictures to judge, each with its load: those of some wishes, at every load at which they were delivered.

    Wishes are the same at every load, and the teacher draws each once: so it is they that are counted. They are taken
    evenly over the order in which they came.

    Args:
        delivered: by load.
        floored: most wishes with a floor.
        others: most wishes without one.
    """
    kept: set[int] = set()
    for has_floor, most in ((True, floored), (False, others)):
        answers = (one for each in delivered.values() for one in each)
        seeds = sorted({one.wish.seed for one in answers if (one.wish.floor is not None) == has_floor})
        kept |= {seeds[i * len(seeds) // most] for i in range(most)} if len(seeds) > most else set(seeds)
    return [(load, one) for load, answers in delivered.items() for one in answers if one.wish.seed in kept]


def judge(
    url: str, guidance_scale: float, delivered: Mapping[float, Sequence[Answer]], *, floored: int, others: int
) -> dict[str, Any] | None:
    """What was delivered against the teacher's pictures, see `summed`; None where there is nothing to judge.

    Args:
        url: of a server that draws the teacher's pictures.
        guidance_scale: of all.
        delivered: the pictures by load, each with its wish.
        floored: most wishes with a floor that are judged.
        others: most wishes without one.
    """
    pictures = picked(delivered, floored, others)
    if not pictures:
        return None
    wishes = {one.wish.seed: one.wish for _, one in pictures}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        drawn = threads.map(lambda wish: _teacher(url, guidance_scale, wish), wishes.values())
        teachers = dict(zip(wishes, drawn, strict=True))
    rows = [_row(load, one, teachers[one.wish.seed]) for load, one in pictures]
    counts = Counter(_floor_of(one.wish) for answers in delivered.values() for one in answers)
    return {"wishes": len(wishes), **summed(rows, counts)}


def summed(rows: Sequence[dict[str, Any]], delivered: Mapping[str, int]) -> dict[str, Any]:
    """By floor: task score and PSNR measured, and by how many pictures the floor was missed.

    A floor of PSNR is missed by each picture below it, one of the task score, which only many pictures have, by all
    of them together. Means over all floors count each as often as it was delivered, however many of it were judged.

    Args:
        rows: of pictures: floor, load, PSNR, whether picture and teacher passed their task.
        delivered: how many there were by floor, those that were not judged included.
    """
    by_floor = [
        _floor([row for row in rows if row["floor"] == name], delivered[name])
        for name in sorted({row["floor"] for row in rows})
    ]
    floored = [row for row in by_floor if row["missed"] is not None]
    total, missed = (sum(row[name] for row in floored) for name in ("pictures", "missed"))
    weights = [delivered[row["floor"]] / sum(other["floor"] == row["floor"] for other in rows) for row in rows]
    return {
        "pictures": len(rows),
        "floored": total,
        "floored_delivered": sum(row["delivered"] for row in floored),
        "floored_by_load": dict(Counter(f"{row['load']:g}" for row in rows if row["floor"] != _NO_FLOOR)),
        "task_share_of_teacher": _share(rows, weights),
        "psnr_db": float(np.average([row["psnr_db"] for row in rows], weights=weights)),
        "floors": by_floor,
        "floors_missed": missed,
        "floors_missed_share": missed / total if total else None,
    }


def _teacher(url: str, guidance_scale: float, wish: Wish) -> NDArray[np.uint8]:
    asked = body(wish, guidance_scale, {"steps": _TEACHER_STEPS}, **_TEACHER, response_format="b64_json")
    answer = httpx2.post(f"{url}{ROUTE}", json=asked, timeout=600.0)
    answer.raise_for_status()
    return _pixels(base64.b64decode(answer.json()["data"][0]["b64_json"]))


def _row(load: float, one: Answer, teacher: NDArray[np.uint8]) -> dict[str, Any]:
    own = _pixels(one.picture)
    error = float(np.mean((own.astype(np.float64) - teacher) ** 2))
    return {
        "floor": _floor_of(one.wish),
        "load": load,
        "psnr_db": 10 * np.log10(255**2 / error) if error else _SAME_DB,
        "own": passes(one.wish.task, one.wish.prompt, read(own)),
        "teacher": passes(one.wish.task, one.wish.prompt, read(teacher)),
    }


def _floor_of(wish: Wish) -> str:
    return _NO_FLOOR if wish.floor is None else f"{wish.floor[0]} {wish.floor[1]:g}"


def _floor(rows: Sequence[dict[str, Any]], delivered: int) -> dict[str, Any]:
    """One floor's rows, at least one."""
    name: str = rows[0]["floor"]
    share, psnr_db = _share(rows), float(np.mean([row["psnr_db"] for row in rows]))
    field, _, least = name.partition(" ")
    missed = None
    if field == "min_psnr_db":
        missed = sum(bool(row["psnr_db"] < float(least)) for row in rows)
    elif field == "min_quality":
        missed = 0 if share >= float(least) else len(rows)
    return {
        "floor": name, "delivered": delivered, "pictures": len(rows), "task_share_of_teacher": share,
        "psnr_db": psnr_db, "missed": missed,
    }  # fmt: skip


def _share(rows: Sequence[dict[str, Any]], weights: Sequence[float] | None = None) -> float:
    counts = [1.0] * len(rows) if weights is None else weights
    own, teacher = (
        float(sum(count * row[name] for count, row in zip(counts, rows, strict=True))) for name in ("own", "teacher")
    )
    return own / teacher if teacher else own


def _pixels(file: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))
