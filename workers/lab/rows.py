"""The rows of a comparison and the file they are written to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from schedules.search.evaluate import bootstrap, summarise
from schedules.search.method import Sampler
from workers.lab.candidate import Candidate
from workers.lab.listed import Kind, Listed
from workers.lab.searching import Searched
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


def row(method: Listed, budget: int, candidate: Candidate, searched: Searched, measured: Json) -> Row:
    """Figures of all seeds as one row."""
    psnr = bootstrap(np.array(measured["psnr_db"], dtype=np.float64))
    latent = summarise(np.array(measured["latent_mse"], dtype=np.float64))
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
        task_score=float(str(measured["task_score"])) if "task_score" in measured else None,
        search_evaluations=searched.evaluations,
        search_seconds=searched.seconds,
    )


def write_rows(path: Path, meta: Meta, rows: Sequence[Row]) -> None:
    """Write the comparison, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    text = json.dumps({"meta": meta, "rows": [asdict(each) for each in rows]}, indent=1, allow_nan=False)
    unfinished.write_text(text + "\n")
    unfinished.replace(path)
