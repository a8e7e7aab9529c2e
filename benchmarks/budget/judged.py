"""Measured quality: delivered pictures against the teacher's of the same prompt and noise."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.budget.asking import ROUTE, Answer, body
from workers.shapes.recognise import read
from workers.shapes.score import passes

_TEACHER = {"schedule": "uniform", "solver": "euler"}
_TEACHER_STEPS = 100
_AT_ONCE = 8
_SAME_DB = 99.0  # of equal pictures


def judge(url: str, guidance_scale: float, delivered: Sequence[Answer]) -> dict[str, Any]:
    """What was delivered, by floor: task score and PSNR measured, and by how many pictures the floor was missed.

    A floor of PSNR is missed by each picture below it, one of the task score, which only many pictures have, by all
    of them together.

    Args:
        url: of a server that draws the teacher's pictures.
        guidance_scale: of all.
        delivered: the pictures, each with its wish.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        teachers = list(threads.map(lambda one: _teacher(url, guidance_scale, one), delivered))
    rows = [_row(one, teacher) for one, teacher in zip(delivered, teachers, strict=True)]
    by_floor = [
        _floor(name, [row for row in rows if row["floor"] == name]) for name in sorted({r["floor"] for r in rows})
    ]
    floored = [row for row in by_floor if row["missed"] is not None]
    total = sum(row["pictures"] for row in floored)
    missed = sum(row["missed"] for row in floored)
    return {
        "pictures": len(rows),
        "task_share_of_teacher": _share(rows),
        "psnr_db": float(np.mean([row["psnr_db"] for row in rows])),
        "floors": by_floor,
        "floors_missed_share": missed / total if total else None,
    }


def _teacher(url: str, guidance_scale: float, one: Answer) -> NDArray[np.uint8]:
    asked = body(one.wish, guidance_scale, {"steps": _TEACHER_STEPS}, **_TEACHER, response_format="b64_json")
    answer = httpx2.post(f"{url}{ROUTE}", json=asked, timeout=600.0)
    answer.raise_for_status()
    return _pixels(base64.b64decode(answer.json()["data"][0]["b64_json"]))


def _row(one: Answer, teacher: NDArray[np.uint8]) -> dict[str, Any]:
    own = _pixels(one.picture)
    error = float(np.mean((own.astype(np.float64) - teacher) ** 2))
    floor = "none" if one.wish.floor is None else f"{one.wish.floor[0]} {one.wish.floor[1]:g}"
    return {
        "floor": floor,
        "psnr_db": 10 * np.log10(255**2 / error) if error else _SAME_DB,
        "own": passes(one.wish.task, one.wish.prompt, read(own)),
        "teacher": passes(one.wish.task, one.wish.prompt, read(teacher)),
    }


def _floor(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    share, psnr_db = _share(rows), float(np.mean([row["psnr_db"] for row in rows]))
    field, _, least = name.partition(" ")
    missed = None
    if field == "min_psnr_db":
        missed = sum(bool(row["psnr_db"] < float(least)) for row in rows)
    elif field == "min_quality":
        missed = 0 if share >= float(least) else len(rows)
    return {"floor": name, "pictures": len(rows), "task_share_of_teacher": share, "psnr_db": psnr_db, "missed": missed}


def _share(rows: Sequence[dict[str, Any]]) -> float:
    share: float = sum(row["own"] for row in rows) / max(1, sum(row["teacher"] for row in rows))
    return share


def _pixels(file: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))
