"""Schedule files as data: an entry with its table, read with the standard library alone.

A file of the registry or one that `pacer schedules export MODEL/SOLVER/STEPS --to json` wrote, format
`pacer-schedule/1`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = "pacer-schedule/1"
SHIPPED = Path(__file__).parents[1] / "schedules" / "shipped"
"""The registry that is installed beside this package."""


class ScheduleFileError(ValueError):
    """A schedule that is not there, or a file that cannot be used; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """One entry: a sampler with E evaluations over B base latents.

    Attributes:
        model: what it was searched on.
        solver: which solver its table is, or how it was learned.
        prediction: flow, epsilon, v_prediction or sample.
        weights_sha256: of the model that it belongs to.
        steps: the step budget, N.
        sigmas: final noise levels, N + 1.
        t: the network's own time of each evaluation, 0 to 1000, E.
        c: the scale of the network's input at each evaluation, E.
        w: the relative guidance weight of each evaluation, E.
        uncond: fresh, reused or skipped, E.
        X: the rows, (E + 1) x (B + E).
        base: what each base latent is, B; the first is the noise.
        networks: the smaller network of each row, "" for the model's own, E; empty where it is so for all.
        variant: which of several artefacts of one solver; None is the plain one.
    """

    model: str
    solver: str
    prediction: str
    weights_sha256: str
    steps: int
    sigmas: tuple[float, ...]
    t: tuple[float, ...]
    c: tuple[float, ...]
    w: tuple[float, ...]
    uncond: tuple[str, ...]
    X: tuple[tuple[float, ...], ...]
    base: tuple[str, ...]
    networks: tuple[str, ...] = ()
    variant: str | None = None

    @property
    def name(self) -> str:
        """model/solver/steps or model/solver@variant/steps."""
        return _name(self.model, self.solver, self.variant, self.steps)


def read_sampler(path: str | Path, steps: int | None = None) -> Sampler:
    """Read one entry of a schedule file.

    Args:
        path: the file.
        steps: which budget; may be left out where the file has one entry.

    Raises:
        ScheduleFileError: no such file or entry, another format, or an entry without its table.
    """
    document = _document(Path(path))
    entry = _entry(document, steps, str(path))
    table = entry.get("table")
    if table is None:
        name = _name(document["model"], document["solver"], document.get("variant"), entry["steps"])
        raise ScheduleFileError(
            f"{path}: the entry of {entry['steps']} steps holds its sigmas alone; "
            f"write its table with `pacer schedules export {name} --to json --out FILE` and read that file"
        )
    return Sampler(
        model=document["model"],
        solver=document["solver"],
        prediction=document["prediction"],
        weights_sha256=document["weights_sha256"],
        steps=entry["steps"],
        sigmas=tuple(entry["sigmas"]),
        t=tuple(table["t"]),
        c=tuple(table["c"]),
        w=tuple(table["w"]),
        uncond=tuple(table["uncond"]),
        X=tuple(map(tuple, table["X"])),
        base=tuple(table["base"]),
        networks=tuple(table.get("networks", ())),
        variant=document.get("variant"),
    )


def find_sampler(schedule: str, steps: int | None = None, folders: Sequence[str | Path] = ()) -> Sampler:
    """Read one entry of the registry.

    Args:
        schedule: MODEL/SOLVER or MODEL/SOLVER/STEPS, where SOLVER may be SOLVER@VARIANT, or the path of a registry
            file (.json).
        steps: the budget, where `schedule` does not say it.
        folders: registry folders, before those of PACER_REGISTRY_DIR and the shipped one.

    Raises:
        ScheduleFileError: as `read_sampler`, or no folder has it.
    """
    if schedule.endswith(".json"):
        return read_sampler(schedule, steps)
    model, solver, steps = _parts(schedule, steps)
    own = os.environ.get("PACER_REGISTRY_DIR")
    places = [Path(folder) for folder in (*folders, *([own] if own else []), SHIPPED)]
    for place in places:
        path = place / model.replace("/", "--") / f"{solver}.json"
        if path.is_file():
            return read_sampler(path, steps)
    raise ScheduleFileError(f"no schedule of {model} for solver {solver!r} in {', '.join(map(str, places))}")


def _name(model: str, solver: str, variant: str | None, steps: int) -> str:
    return f"{model}/{solver}{'' if variant is None else f'@{variant}'}/{steps}"


def _parts(schedule: str, steps: int | None) -> tuple[str, str, int]:
    rest, _, last = schedule.rpartition("/")
    if last.isascii() and last.isdecimal():
        if steps not in (None, int(last)):
            raise ScheduleFileError(f"{schedule!r} is for {last} steps, and steps={steps} was given; say one of them")
        schedule, steps = rest, int(last)
    model, _, solver = schedule.rpartition("/")
    if not model or not solver or steps is None:
        raise ScheduleFileError(f"name a schedule as MODEL/SOLVER with steps=N, or MODEL/SOLVER/N, not {schedule!r}")
    return model, solver, steps


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise ScheduleFileError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ScheduleFileError(f"{path}: is not JSON ({error})") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ScheduleFileError(f"{path}: format must be {FORMAT!r}, is {found!r}")
    return dict(document)


def _entry(document: dict[str, Any], steps: int | None, source: str) -> dict[str, Any]:
    entries: dict[int, dict[str, Any]] = {entry["steps"]: entry for entry in document["entries"]}
    if steps is None and len(entries) == 1:
        return next(iter(entries.values()))
    if steps not in entries:
        asked = "steps must be said" if steps is None else f"no entry of {steps} steps"
        raise ScheduleFileError(f"{source}: {asked}; there are {', '.join(map(str, entries))}")
    return entries[steps]
