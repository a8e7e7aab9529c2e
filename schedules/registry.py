"""The registry: every schedule artefact at hand, by model, solver, variant and step budget."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from schedules.artefact import ArtefactError, Entry, Schedule, read, solver_id
from schedules.table import Table

SHIPPED = Path(__file__).parent / "shipped"
"""The artefacts that come with the package."""


class ScheduleNotFound(ValueError):  # noqa: N818 - the name says what happened
    """No such schedule; the message names those that exist."""


def artefact_path(folder: Path, model: str, solver: str, variant: str | None = None) -> Path:
    """Where an artefact lies in a registry folder, with the model's "/" as "--".

    That is <model>/<solver>.json, or <model>/<solver>@<variant>.json.
    """
    return folder / model.replace("/", "--") / f"{solver_id(solver, variant)}.json"


def entry_table(schedule: Schedule, entry: Entry) -> Table:
    """The table of an entry: the stored one, or compiled from its sigmas."""
    return schedule.table(entry)


Candidate = tuple[Schedule, Entry]


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """Schedules by model, solver and variant, one for each three, sorted by them; equal to itself alone."""

    artefacts: tuple[Schedule, ...]
    _ranked: dict[tuple[str, bool], tuple[Candidate, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, schedules: Iterable[Schedule]) -> Self:
        """Gather schedules; where two have the same model, solver and variant, the first wins."""
        first: dict[tuple[str, str, str], Schedule] = {}
        for schedule in schedules:
            first.setdefault((schedule.model, schedule.solver, schedule.variant or ""), schedule)
        return cls(tuple(first[key] for key in sorted(first)))

    @classmethod
    def load(cls, *folders: Path | None) -> Self:
        """Read the artefacts of folders, the shipped ones last; earlier folders win. None stands for a folder not set.

        Raises:
            ArtefactError: a folder is not there, or a file in it is malformed or in the wrong place; names it.
        """
        return cls.of(schedule for folder in (*folders, SHIPPED) if folder for schedule in _read_folder(folder))

    def models(self) -> tuple[str, ...]:
        """The models that have schedules, sorted."""
        return tuple(dict.fromkeys(schedule.model for schedule in self.artefacts))

    def schedules(self, model: str) -> tuple[Schedule, ...]:
        """A model's schedules, by solver and variant; none for a model that is not there."""
        return tuple(schedule for schedule in self.artefacts if schedule.model == model)

    def find(self, schedule_id: str) -> tuple[Schedule, Entry]:
        """Look up model/solver/steps or model/solver@variant/steps; the model's name may itself hold a "/".

        Raises:
            ScheduleNotFound: names the models, solvers with their variants, or step budgets that exist.
        """
        model, solver, steps = _parts(schedule_id)
        schedules = {schedule.solver_id: schedule for schedule in self.schedules(model)}
        if not schedules:
            raise ScheduleNotFound(f"no schedules for model {model!r}; there are some for {_listed(self.models())}")
        if solver not in schedules:
            raise ScheduleNotFound(f"no schedule of {model} for solver {solver!r}; there are {_listed(schedules)}")
        schedule = schedules[solver]
        entry = schedule.entry(int(steps)) if _is_budget(steps) else None
        if entry is None:
            budgets = _listed(str(entry.steps) for entry in schedule.entries)
            raise ScheduleNotFound(f"no schedule {model}/{solver} for {steps!r} steps; there are {budgets}")
        return schedule, entry

    def candidates(
        self, model: str, steps: int, *, guidance_scale: float = 1.0, embedded: bool = False
    ) -> tuple[Candidate, ...]:
        """What can serve a model at exactly these steps, in the order of `ranked`."""
        ranked = self.ranked(model, guidance_scale=guidance_scale, embedded=embedded)
        return tuple(each for each in ranked if each[1].steps == steps)

    def ranked(self, model: str, *, guidance_scale: float = 1.0, embedded: bool = False) -> tuple[Candidate, ...]:
        """What can serve a model at any steps, the best first, those without evidence last.

        What was measured nearest to the guidance scale comes first, as figures of other scales say little of this one;
        then the best mean PSNR; then the fewest network evaluations.

        Args:
            model: whose.
            guidance_scale: of the request.
            embedded: whether the network takes the scale as an input, so that it costs no evaluation.
        """
        key = model, guidance_scale != 1.0 and not embedded
        if key not in self._ranked:
            found = ((schedule, entry) for schedule in self.schedules(model) for entry in schedule.entries)
            servable = (each for each in found if each[0].servable)
            self._ranked[key] = tuple(sorted(servable, key=lambda each: _rank(each, 2.0 if key[1] else 1.0)))
        return tuple(sorted(self._ranked[key], key=lambda each: _distance(each, guidance_scale)))


def _distance(candidate: Candidate, guidance_scale: float) -> float:
    """From the guidance scale at which an entry was measured, as a logarithm; infinite where nobody measured it."""
    schedule, entry = candidate
    if entry.evidence is None:
        return math.inf
    measured = schedule.measured_scale
    return 0.0 if measured is None else abs(math.log(guidance_scale / measured))


def _rank(candidate: Candidate, guidance_scale: float) -> tuple[float, int, str]:
    schedule, entry = candidate
    worse = float("inf") if entry.evidence is None else -entry.evidence.psnr_db.mean
    return worse, schedule.network_evaluations(entry, guidance_scale), schedule.solver_id


def _parts(schedule_id: str) -> tuple[str, str, str]:
    parts = schedule_id.rsplit("/", 2)
    if len(parts) != 3 or not all(parts):
        raise ScheduleNotFound(f"a schedule's id is model/solver/steps, not {schedule_id!r}")
    return parts[0], parts[1], parts[2]


def _is_budget(text: str) -> bool:
    """Whether a text is a number of steps, of a length that is worth reading."""
    return text.isascii() and text.isdecimal() and len(text) <= 6


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _read_folder(folder: Path) -> list[Schedule]:
    if not folder.is_dir():
        raise ArtefactError(f"{folder}: no such folder of schedules")
    return [_read_placed(path, folder) for path in sorted(folder.rglob("*.json"))]


def _read_placed(path: Path, folder: Path) -> Schedule:
    schedule = read(path)
    place = artefact_path(folder, schedule.model, schedule.solver, schedule.variant)
    if path != place:
        said = "model and solver" if schedule.variant is None else "model, solver and variant"
        raise ArtefactError(f"{path}: must lie at {place}, as its {said} say")
    return schedule
