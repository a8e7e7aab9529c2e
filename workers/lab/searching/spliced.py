"""The search of splices, and their evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from schedules.artefact import Entry, Schedule
from schedules.search.idle_branches import with_all_branches, without_idle_branches
from schedules.search.method import Sampler
from schedules.search.moved import moved_cost
from schedules.search.newton import NewtonOptions, looks
from schedules.search.pacer import sampler_of
from schedules.search.splicing import descent, search_splice
from schedules.splice import Splice
from schedules.stored_table import StoredTable
from schedules.table import FloatArray, Table, common_rows
from workers.lab.candidate import pack_all, unpack_all
from workers.lab.native import artefact_sampler, native_of
from workers.lab.searching.evidence import Evidences
from workers.lab.searching.run import SearchRun
from workers.lab.store import Json
from workers.lab.teachers import costed


class Wanted(NamedTuple):
    """A splice: steps that were begun, those made of them, and those that it ends with."""

    begun: int
    done: int
    steps: int


@dataclass(frozen=True, slots=True)
class Effort:
    """How long splices are searched, and from where.

    Attributes:
        rounds: seeds of each round that moves every number; None for the usual ones.
        many: of each round after these, where times stay; likewise.
        go_on: from the splices that the artefact has, where it has them.
    """

    rounds: tuple[int, ...] | None = None
    many: tuple[int, ...] | None = None
    go_on: bool = False

    def descent(self, done: int) -> NewtonOptions:
        """How a tail descends after so many evaluations."""
        usual = descent(done)
        rounds = usual.rounds if self.rounds is None else self.rounds
        return replace(usual, rounds=rounds, many=usual.many if self.many is None else self.many)


class Splicing:
    """Searches an artefact's splices one after the other; what was found is kept on disk.

    Args:
        run: the model, the request, the store and the meter.
        schedule: the artefact.
        effort: how long it searches, and from where.
    """

    def __init__(self, run: SearchRun, schedule: Schedule, effort: Effort | None = None) -> None:
        self._run, self._schedule, self._effort = run, schedule, effort or Effort()
        self._splits = run.smoothly_compared(run.calibration), run.compared(run.validation)
        self._evidences = Evidences(run)

    def expect(self, wanted: Sequence[Wanted]) -> None:
        """Tell the meter what all of these will take."""
        self._run.meter.expect(sum(self._cost(each) for each in wanted))

    def splice(self, wanted: Wanted) -> Splice:
        """One of them, with its evidence."""
        self._run.meter.stage(f"{wanted.begun} to {wanted.steps} after {wanted.done}", self._cost(wanted))
        sampler = self._searched(wanted)
        sigmas, own = self._run.model.native.stored(sampler)
        begun_own = self._schedule.table(self._entry(wanted.begun))
        return Splice(
            begun=wanted.begun,
            done=wanted.done,
            steps=wanted.steps,
            sigmas=tuple(sigmas.tolist()),
            table=StoredTable.of(begun_as(without_idle_branches(own), begun_own, wanted.done)),
            evidence=self._evidences.of_itself(sampler),
        )

    def _searched(self, wanted: Wanted) -> Sampler:
        begun, *aims = (self._table(n) for n in (wanted.begun, wanted.steps, wanted.steps - wanted.done + 1))
        known, options = self._known(wanted), self._effort.descent(wanted.done)

        def make() -> Json:
            found = search_splice(begun, wanted.done, (aims[0], aims[1]), self._splits, options, found=known)
            sampler = sampler_of(found.table, self._run.calibration.problem.time_scale)
            return {"found": pack_all({wanted.steps: sampler})}

        tables = [StoredTable.of(table).model_dump_json() for table in (begun, *aims, known) if table is not None]
        key = {
            **self._run.calibration.key,
            "validation": self._run.validation.key,
            "splice": list(wanted),
            "tables": hashlib.sha256("".join(tables).encode()).hexdigest(),
            "descent": repr(options),
        }
        record = self._run.store.record("splices", key, lambda: costed(self._run.meter, make))
        sampler = unpack_all(str(record["found"]))[wanted.steps]
        if not isinstance(sampler, Sampler):
            raise TypeError("a splice is no sampler: this is a bug")
        return sampler

    def _known(self, wanted: Wanted) -> Table | None:
        """The artefact's own splice of the same, where the search is to go on from it."""
        splices = self._schedule.splices if self._effort.go_on else ()
        same = (each for each in splices if (each.begun, each.done, each.steps) == wanted)
        native = native_of(self._schedule)
        tables = (native.sampler(np.array(each.sigmas), each.table.table()).table for each in same)
        return next((with_all_branches(table) for table in tables), None)

    def _entry(self, steps: int) -> Entry:
        entry = self._schedule.entry(steps)
        if entry is None:
            raise ValueError(f"splices: {self._schedule.model} has no schedule of {steps} steps")
        return entry

    def _table(self, steps: int) -> Table:
        return with_all_branches(artefact_sampler(self._schedule, self._entry(steps)).table)

    def _cost(self, wanted: Wanted) -> float:
        starts = 1 if wanted.done == 1 or self._known(wanted) is not None else 2
        request, options = self._run.request, self._effort.descent(wanted.done)
        rollouts = options.finish(request.seeds, request.validation) + starts * request.validation + request.held_out
        rollouts += sum(looks(len(options.dampings), n) for n in range(len(options.rounds))) * request.validation
        first, measured = options.rounds[:1], sum(min(each, request.seeds) for each in options.rounds)
        moved = (measured + (starts - 1) * sum(first)) * moved_cost(wanted.steps, wanted.done)
        return float(self._run.branches * (wanted.steps * rollouts + moved))


def begun_as(table: Table, begun: Table, done: int) -> Table:
    """A table with the first rows of another, to the last digit and forward: what was made stays as it was.

    Args:
        table: begins as the other does, but for rounding and unconditional outputs that count for nothing.
        begun: the other.
        done: how many rows.
    """
    if common_rows(table, begun) >= done:
        return table
    rows = table.X.copy()
    rows[:done] = 0.0
    rows[:done, : len(begun.base) + done] = begun.X[:done, : len(begun.base) + done]

    def spliced(first: FloatArray, rest: FloatArray) -> FloatArray:
        return np.concatenate([first[:done], rest[done:]])

    t, c, w = spliced(begun.t, table.t), spliced(begun.c, table.c), spliced(begun.w, table.w)
    return replace(table, t=t, c=c, w=w, X=rows, uncond=begun.uncond[:done] + table.uncond[done:])
