"""How well the words tell what a prompt needs: on prompts that the fit has not seen, several pictures of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing
from rich.table import Table as Grid

from schedules.artefact import Schedule
from schedules.evidence import KEPT_BY
from schedules.prompt_curves import PromptCurves
from schedules.search.prompt_fit import PromptErrors
from schedules.search.prompt_saving import Saving, saving
from schedules.table import FloatArray

_FLOORS_DB = (25.0, 30.0, 35.0, 40.0, 45.0)
_TENTHS = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """Curves, and pictures that judge them.

    Attributes:
        schedule: whose budgets they are of.
        curves: what the words tell.
        errors: measured of prompts with several pictures each, which stand together.
        seeds: pictures of each prompt, an even number.
    """

    schedule: Schedule
    curves: PromptCurves
    errors: PromptErrors
    seeds: int

    @property
    def steps(self) -> FloatArray:
        """The budgets, shape (K,)."""
        return np.array(self.curves.steps, dtype=np.float64)

    @property
    def told_db(self) -> FloatArray:
        """Mean PSNR of each picture as the words tell it, shape (M, K)."""
        figures = [self.curves.of(prompt) for prompt in self.errors.prompts]
        unknown = self.errors.psnr_db.mean(0)
        return np.array([unknown if each is None else each.psnr_db for each in figures])

    @property
    def told_quality(self) -> FloatArray | None:
        """The same of the quality."""
        if self.errors.quality is None or self.curves.quality is None:
            return None
        figures = [self.curves.of(prompt) for prompt in self.errors.prompts]
        unknown = self.errors.quality.mean(0)
        return np.array([unknown if each is None or each.quality is None else each.quality for each in figures])

    def savings(self, measured: FloatArray, told: FloatArray) -> Iterator[tuple[Saving, float]]:
        """For floors at the mean of each budget but the ends: by the words, and the share that an oracle saves.

        The oracle knows the means of each prompt: from one half of its pictures, and is judged by the other.

        Args:
            measured: of each picture and budget, shape (M, K).
            told: the same as the words tell it.
        """
        means, expected = self._of_prompts(measured), self._of_prompts(told)
        halves = measured.reshape(-1, 2, self.seeds // 2, measured.shape[1]).mean(2)
        for floor in measured.mean(0)[1:-1].tolist():
            oracle = [saving(floor, halves[:, one], halves[:, 1 - one], self.steps).share for one in (0, 1)]
            yield saving(floor, expected, means, self.steps), float(np.mean(oracle))

    @property
    def share(self) -> float:
        """By how many pictures floors are judged: as by default, or by the most that the prompts tell of."""
        return max(each.by for each in self.curves.kept_psnr_db if each.by <= KEPT_BY)

    def kept(self, floor_db: float, *, by_prompt: bool) -> tuple[float, float]:
        """Mean steps of the cheapest budgets that keep a floor for `share` of the pictures, and by how many it was."""
        if by_prompt:
            least = self.told_db + next(each.offsets for each in self.curves.kept_psnr_db if each.by == self.share)
        else:
            shown = {entry.steps: entry.evidence for entry in self.schedule.entries if entry.evidence is not None}
            known = [shown[steps].psnr_db_of(self.share) if steps in shown else None for steps in self.curves.steps]
            least = np.tile([-np.inf if each is None else each for each in known], (len(self.errors.prompts), 1))
        reached = least >= floor_db
        place = np.where(reached.any(1), reached.argmax(1), len(self.steps) - 1)
        kept = self.errors.psnr_db[np.arange(len(place)), place] >= floor_db
        return float(self.steps[place].mean()), float(kept.mean())

    def _of_prompts(self, values: FloatArray) -> FloatArray:
        """Means of the pictures of each prompt, shape (P, K)."""
        return np.asarray(values.reshape(-1, self.seeds, values.shape[1]).mean(1))


def report(judged: Judged) -> Iterator[Grid]:
    """What the words explain, what is saved, and which floors are kept, as tables."""
    yield _explained(judged.curves)
    yield _saved(judged)
    yield _floors(judged)


def _explained(curves: PromptCurves) -> Grid:
    title = f"{len(curves.words)} words, {curves.seeds} prompts: share of single pictures' variance that they explain"
    grid = Grid("steps", "PSNR", "quality", title=title)
    shown = (None,) * len(curves.steps) if curves.quality is None else curves.quality.explained
    for steps, psnr_db, quality in zip(curves.steps, curves.psnr_db.explained, shown, strict=True):
        grid.add_row(str(steps), f"{psnr_db:.0%}", "nothing" if quality is None else f"{quality:.0%}")
    return grid


def _saved(judged: Judged) -> Grid:
    grid = Grid(
        "mean of", "floor", "reached", "steps", "of all prompts", "saved", "by an oracle", title="steps by the prompt"
    )
    figures = {"PSNR": (judged.errors.psnr_db, judged.told_db), "quality": (judged.errors.quality, judged.told_quality)}
    for name, (measured, told) in figures.items():
        if measured is None or told is None:
            continue
        for own, oracle in judged.savings(measured, told):
            cells = f"{own.floor:.3g}", f"{own.quality:.4g}", f"{own.evaluations:.2f}", f"{own.fixed:.2f}"
            grid.add_row(name, *cells, f"{own.share:.1%}", f"{oracle:.1%}")
    return grid


def _floors(judged: Judged) -> Grid:
    title = f"floors for {100 * judged.share:g} of 100 pictures"
    grid = Grid("dB", "steps of all prompts", "kept by", "steps by the prompt", "kept by", title=title)
    for floor in _FLOORS_DB:
        cells = (judged.kept(floor, by_prompt=by_prompt) for by_prompt in (False, True))
        grid.add_row(f"{floor:g}", *(text for steps, kept in cells for text in (f"{steps:.2f}", f"{kept:.1%}")))
    return grid


def draw(judged: Judged, path: Path) -> None:
    """Told against measured PSNR: a line for each budget, a point for each tenth of the pictures by what was told."""
    told, measured = judged.told_db, judged.errors.psnr_db
    drawing = Drawing(figsize=(6, 5), layout="constrained")
    axes = drawing.subplots()
    for place, steps in enumerate(judged.curves.steps):
        parts = np.array_split(told[:, place].argsort(), min(_TENTHS, len(told)))
        points = [(told[part, place].mean(), measured[part, place].mean()) for part in parts]
        axes.plot(*zip(*points, strict=True), "o-", ms=3, lw=1, label=f"{steps} steps")
    ends = [float(told.min()), float(told.max())]
    axes.plot(ends, ends, color="grey", lw=0.8, ls="--")
    axes.set(xlabel="PSNR told from the words, dB", ylabel="measured mean, dB")
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path)
