"""The published numbers and where they are from: one JSON file for each method beside this module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypedDict

import numpy as np

from schedules.table import FloatArray

Space = Literal["flow", "ve"]
Coefficients = tuple[FloatArray, ...]
"""Row i: how far evaluation i leans on each earlier output, shape (i,), float64."""

_FOLDER = Path(__file__).parent


class PublishedError(ValueError):
    """No such published table; the message says what there is."""


class Source(TypedDict):
    """Where the numbers were read."""

    repository: str
    path: str
    commit: str | None


class _Record(TypedDict, total=False):
    name: str
    method: str
    space: Space
    model: str
    solver: str
    validity: str
    sources: list[Source]
    licence: str | None
    tables: dict[str, list[float]]
    coefficients: dict[str, list[list[float]]]


@dataclass(frozen=True, slots=True, eq=False)
class PublishedTables:
    """One published family of tables.

    Attributes:
        name: its name here.
        method: what found it.
        space: "flow" where levels are a flow's sigmas, "ve" where they are ratios of noise to data.
        model: what it was searched on; on any other model it is a guess.
        solver: what it was searched for or is used with; "learned" where coefficients belong to it.
        validity: under which conditions it was found, as far as that was published.
        sources: the repositories, paths and commits.
        licence: that of the repositories; None where not known. Only numbers are taken from them.
        levels: the published noise levels for each number of steps, shape (steps + 1,), float64, strictly falling; the
            last stands for 0.
        coefficients: the learned ones for each number of steps; empty where a formula solver is used.
    """

    name: str
    method: str
    space: Space
    model: str
    solver: str
    validity: str
    sources: tuple[Source, ...]
    licence: str | None
    levels: Mapping[int, FloatArray]
    coefficients: Mapping[int, Coefficients]

    @property
    def budgets(self) -> tuple[int, ...]:
        """The numbers of steps that were published, rising."""
        return tuple(sorted(self.levels))


def names() -> tuple[str, ...]:
    """The published families, sorted."""
    return tuple(sorted(_all()))


def tables(name: str) -> PublishedTables:
    """A family by its name.

    Raises:
        PublishedError: there is none; names those that exist.
    """
    if name not in _all():
        raise PublishedError(f"name: must be one of {', '.join(names())}, is {name!r}")
    return _all()[name]


@cache
def _all() -> Mapping[str, PublishedTables]:
    records = [_family(record) for path in sorted(_FOLDER.glob("*.json")) for record in json.loads(path.read_text())]
    return MappingProxyType({record.name: record for record in records})


def _family(record: _Record) -> PublishedTables:
    levels = {int(steps): _frozen(values) for steps, values in record["tables"].items()}
    coefficients = {
        int(steps): tuple(_frozen(row) for row in rows) for steps, rows in record.get("coefficients", {}).items()
    }
    return PublishedTables(
        name=record["name"],
        method=record["method"],
        space=record["space"],
        model=record["model"],
        solver=record["solver"],
        validity=record["validity"],
        sources=tuple(record["sources"]),
        licence=record["licence"],
        levels=MappingProxyType(levels),
        coefficients=MappingProxyType(coefficients),
    )


def _frozen(values: list[float]) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
