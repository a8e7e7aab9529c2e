"""The whole comparison: every method searched and measured, its rows and what must be said about them."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch

from schedules.artefact import write
from schedules.registry import artefact_path
from schedules.search.method import Sampler
from schedules.table import FloatArray
from workers.lab.comparing.artefacts import artefact_of
from workers.lab.comparing.comparison import Comparison
from workers.lab.comparing.listed import Listed
from workers.lab.comparing.rows import Meta, Row, row
from workers.lab.comparing.searched import Searched, allowed, expected, search
from workers.lab.comparing.tabled import SHIFTS, stock_grid_of
from workers.lab.figures import evidence_of
from workers.lab.measuring import Measurer
from workers.lab.revision import commit

_SEARCH_COST = (
    "forwards of the network and wall-clock of a method's whole search for the run's budgets, its teacher's too"
)
_SHIFT_CHOICE = (
    "stock solvers have, at each budget, the best of these shifts by mean PSNR on the calibration seeds; those of a "
    "model with a noise of its own the best of its grids, too"
)


class Comparing:
    """Runs methods one after another.

    Args:
        run: the comparison.
        methods: in this order.
        notes: what must be said from the beginning.
        keep: a registry folder for what methods find; None keeps nothing.

    Attributes:
        rows: those that are done.
        notes: what could not be done, and why.
    """

    def __init__(
        self, run: Comparison, methods: Sequence[Listed], notes: Sequence[str] = (), keep: Path | None = None
    ) -> None:
        self._run, self._methods, self._keep = run, methods, keep
        self._shifts: dict[str, dict[str, float | str]] = {}
        self.rows: list[Row] = []
        self.notes = list(notes)

    @cached_property
    def _measurer(self) -> Measurer:
        return Measurer(self._run.stand, fresh=self._run.fresh)

    @cached_property
    def _teacher_scores(self) -> FloatArray | None:
        return self._measurer.teacher_scores()

    def each(self) -> Iterator[Listed]:
        """Do one method after the other; each is given out when its rows are there."""
        run = self._run
        searches = [expected(run, method) for method in self._methods]
        measures = [self._measuring(method) for method in self._methods]
        teachers = run.branches * run.request.teacher_steps * (run.request.seeds + run.request.calibration_seeds)
        run.meter.expect(sum(searches) + sum(measures) + teachers)
        run.meter.stage("teacher", teachers)
        _ = run.teacher
        for method, cost, measuring in zip(self._methods, searches, measures, strict=True):
            run.meter.stage(f"{method.name}: search", cost)
            searched = search(run, method)
            run.meter.stage(f"{method.name}: held-out seeds", measuring)
            self._measure(method, searched)
            yield method

    def meta(self) -> Meta:
        """What the rows belong to."""
        run, request, model = self._run, self._run.request, self._run.subject.model
        return {
            "model": model.name,
            "guidance": request.guidance_scale,
            "teacher": {
                "kind": "exact" if run.subject.exact else "euler",
                "steps": request.teacher_steps,
                "task_score": None if self._teacher_scores is None else float(self._teacher_scores.mean()),
            },
            "seeds": request.seeds,
            "seed_offset": request.seed_offset,
            "commit": commit(),
            "hardware": _hardware(model.device),
            "weights_sha256": model.weights_sha256,
            "prompts_sha256": run.held_out.prompts_sha256,
            "budgets": list(request.budgets),
            "calibration_seeds": request.calibration_seeds,
            "grid": request.grid,
            "shifts": {"of": list(SHIFTS), "choice": _SHIFT_CHOICE, "chosen": self._shifts},
            "search_cost": _SEARCH_COST,
            "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
            "notes": self.notes,
        }

    def _measuring(self, method: Listed) -> float:
        return float(self._run.branches * self._run.request.seeds * sum(allowed(self._run, method)))

    def _measure(self, method: Listed, searched: Searched) -> None:
        native = self._run.subject.model.native
        measured_at = list[int]()
        for budget, candidate in searched.candidates.items():
            if method.kind == "stock" and isinstance(candidate, Sampler):
                self._shifts.setdefault(method.name, {})[str(budget)] = stock_grid_of(native, candidate)
            try:
                measured = self._measurer.measure(candidate)
            except ValueError as error:
                self.notes.append(f"{method.name} at {budget}: left out, {error}")
                continue
            self.rows.append(row(method, searched, budget, measured, self._teacher_scores))
            measured_at.append(budget)
        if self._keep is not None:
            self._write(method, searched, measured_at, self._keep)

    def _write(self, method: Listed, searched: Searched, budgets: Sequence[int], folder: Path) -> None:
        """Put what a method found into a registry folder, where that can be served."""
        run = self._run
        shown = {
            budget: evidence_of(self._measurer, searched.candidates[budget], run.held_out, run.request.teacher_steps)
            for budget in budgets
        }
        artefact = artefact_of(run, method, searched, shown)
        if artefact is not None:
            write(artefact, artefact_path(folder, artefact.model, artefact.solver, artefact.variant))


def _hardware(device: torch.device) -> dict[str, object]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
