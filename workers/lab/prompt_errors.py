"""What pictures of many prompts cost at each budget: measured to fit curves by the prompt, and to judge them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schedules.artefact import Entry, Schedule
from schedules.search.prompt_fit import PromptErrors
from schedules.table import FloatArray
from workers.lab.measuring import Measurer, Stand
from workers.lab.native import artefact_sampler
from workers.lab.prompts import SPLITS
from workers.lab.searching.run import SearchRun
from workers.lab.seeds import SEEDS_PER_SPLIT, SeedSet, seed_set

_REPEATED = 500_000  # seeds of prompts that are drawn several times, from there in the held-out ones


@dataclass(frozen=True, slots=True)
class Repeated:
    """Prompts that each have several seeds, which stand together.

    Attributes:
        prompts: how many.
        seeds: of each.
    """

    prompts: int
    seeds: int

    def draw(self, run: SearchRun) -> SeedSet:
        """Held-out prompts, different ones as far as there are."""
        drawn = run.model.prompts.draw("held-out", 8 * self.prompts, run.request.seed_offset)
        chosen = list(dict.fromkeys(drawn))[: self.prompts]
        offset = SPLITS.index("held-out") * SEEDS_PER_SPLIT + _REPEATED + run.request.seed_offset
        return SeedSet(offset, tuple(prompt for prompt in chosen for _ in range(self.seeds)))


def calibration(run: SearchRun, schedule: Schedule, entries: Sequence[Entry]) -> PromptErrors:
    """Of as many calibration seeds as the request has, each with its prompt."""
    seeds = seed_set(run.model.prompts, "calibration", run.request.seeds, run.request.seed_offset)
    return _measured(run.stand_of(seeds, "calibration"), run, schedule, entries)


def repeated(run: SearchRun, schedule: Schedule, entries: Sequence[Entry], how: Repeated) -> PromptErrors:
    """Of held-out prompts that have several seeds each."""
    return _measured(run.stand_of(how.draw(run), "repeated"), run, schedule, entries)


def _measured(stand: Stand, run: SearchRun, schedule: Schedule, entries: Sequence[Entry]) -> PromptErrors:
    measurer, count = Measurer(stand), len(stand.prompts)
    run.meter.stage("budgets", sum(entry.steps for entry in entries) * run.branches * count)
    samplers = [artefact_sampler(schedule, entry) for entry in entries]
    figures = [measurer.measure(sampler) for sampler in samplers]
    teacher = measurer.teacher_scores()

    def column(name: str) -> FloatArray:
        return np.array([figure[name] for figure in figures], dtype=np.float64).T

    single = "ssim" in figures[0]
    quality = column("ssim") if single else None
    if teacher is not None and teacher.any():
        quality = 1 - (teacher[:, None] - column("task_scores")) / teacher.mean()
    steps = tuple(entry.steps for entry in entries)
    return PromptErrors(stand.prompts, steps, column("psnr_db"), quality, single=single)
