"""The rows of a comparison and the file they are written to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from schedules.search.evaluate import bootstrap, bootstrap_ratio, summarise
from schedules.search.method import Sampler
from schedules.table import FloatArray
from workers.lab.comparing.listed import Kind, Listed
from workers.lab.comparing.searched import Searched
from workers.lab.store import Json

Meta = dict[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """One method at one budget.

    Attributes:
        method: its name.
        kind: grid, stock, published, search or pacer.
        solver: that samples; "learned" where coefficients belong to the method.
        steps: guided evaluations, that is, rows of the table; the most that their mean may be where seeds differ.
        evaluations: forwards of the network for one image.
        psnr_db: mean over held-out seeds of the PSNR to the teacher.
        psnr_db_lo: the lower end of its 95 % bootstrap interval.
        psnr_db_hi: the upper end.
        latent_mse: mean over seeds.
        latent_mse_median: median over seeds.
        latent_mse_p90: 90th percentile over seeds.
        task_score: None where the model has no judge.
        search_evaluations: forwards of the network in the method's whole search for all budgets of the run, its teacher
            included; None where nobody knows.
        search_seconds: of wall-clock for the same.
        task_score_of_teacher: its ratio to the teacher's on the same prompts and seeds.
        task_score_of_teacher_lo: the lower end of the ratio's 95 % interval, bootstrapped over pairs.
        task_score_of_teacher_hi: the upper end.
        servable: whether the engine can serve it; false for what the laboratory alone can run.
    """

    method: str
    kind: Kind
    solver: str
    steps: int
    evaluations: float
    psnr_db: float
    psnr_db_lo: float
    psnr_db_hi: float
    latent_mse: float
    latent_mse_median: float
    latent_mse_p90: float
    task_score: float | None
    search_evaluations: int | None
    search_seconds: float | None
    task_score_of_teacher: float | None
    task_score_of_teacher_lo: float | None
    task_score_of_teacher_hi: float | None
    servable: bool


def row(method: Listed, searched: Searched, budget: int, measured: Json, teacher_scores: FloatArray | None) -> Row:
    """Figures of all seeds as one row.

    Args:
        method: whose.
        searched: what it found.
        budget: of the row.
        measured: the figures of every seed.
        teacher_scores: the teacher's task scores of the same seeds, shape (M,).
    """
    candidate = searched.candidates[budget]
    psnr = bootstrap(np.array(measured["psnr_db"], dtype=np.float64))
    latent = summarise(np.array(measured["latent_mse"], dtype=np.float64))
    scores = np.array(measured.get("task_scores", ()), dtype=np.float64)
    ratio = None if teacher_scores is None else bootstrap_ratio(scores, teacher_scores)
    steps = candidate.table.evaluations_count if isinstance(candidate, Sampler) else budget
    return Row(
        method=method.name,
        kind=method.kind,
        solver=method.solver,
        steps=steps,
        evaluations=float(str(measured["evaluations"])),
        psnr_db=psnr.mean,
        psnr_db_lo=psnr.low,
        psnr_db_hi=psnr.high,
        latent_mse=latent.mean,
        latent_mse_median=latent.median,
        latent_mse_p90=latent.p90,
        task_score=float(scores.mean()) if scores.size else None,
        task_score_of_teacher=None if ratio is None else ratio.mean,
        task_score_of_teacher_lo=None if ratio is None else ratio.low,
        task_score_of_teacher_hi=None if ratio is None else ratio.high,
        search_evaluations=searched.evaluations,
        search_seconds=searched.seconds,
        servable=method.servable,
    )


def write_rows(path: Path, meta: Meta, rows: Sequence[Row]) -> None:
    """Write the comparison, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    text = json.dumps({"meta": meta, "rows": [asdict(each) for each in rows]}, indent=1, allow_nan=False)
    unfinished.write_text(text + "\n")
    unfinished.replace(path)
