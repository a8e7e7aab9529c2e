"""Evidence: samplers measured on held-out seeds against the teacher at equal seed, baselines beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schedules.artefact import StoredTable
from schedules.evidence import Evidence, Figure
from schedules.search.evaluate import bootstrap, psnr_db, seed_errors
from schedules.search.method import Sampler
from schedules.search.rollout import Rollout, roll_out
from schedules.table import Table
from workers.lab.bench import Bench
from workers.lab.store import Json


class Evidences:
    """Measures tables on one bench's held-out seeds; equal tables are measured once, also across runs."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._split = bench.held_out
        self._pixels = bench.pixels(self._split.teacher.final)
        self._latest: Rollout | None = None

    def of(self, sampler: Sampler) -> Evidence:
        """The evidence of one sampler, the baselines with as many steps beside it."""
        own = self._measure(sampler.table, scored=self._bench.model.score is not None)
        baselines = self._bench.baselines(len(sampler.sigmas) - 1)
        return Evidence(
            psnr_db=_figure(own, "psnr_db"),
            latent_mse=_figure(own, "latent_mse"),
            task_score=float(str(own["task_score"])) if "task_score" in own else None,
            seeds=len(self._split.seeds.prompts),
            seed_offset=self._split.seeds.offset,
            teacher_steps=self._bench.request.teacher_steps,
            baselines_psnr_db={
                name: _figure(self._measure(other.table), "psnr_db") for name, other in baselines.items()
            },
        )

    def _measure(self, table: Table, *, scored: bool = False) -> Json:
        """A table's figures of every seed; reading pictures back takes its time, so baselines are not scored."""
        key = {**self._split.key, "table": StoredTable.of(table).model_dump(), "scored": scored}
        return self._bench.store.record("measurements", key, lambda: self._run(table, scored=scored))

    def _run(self, table: Table, *, scored: bool) -> Json:
        self._latest = roll_out(self._split.problem, table, after=self._latest)
        pixels = self._bench.pixels(self._latest.final)
        figures: Json = {
            "psnr_db": psnr_db(pixels, self._pixels).tolist(),
            "latent_mse": seed_errors(self._latest.final, self._split.teacher.final).tolist(),
        }
        score = self._bench.model.score
        if scored and score is not None:
            figures["task_score"] = score(self._split.seeds.prompts, pixels)
        return figures


def _figure(measured: Mapping[str, object], name: str) -> Figure:
    return bootstrap(np.array(measured[name], dtype=np.float64))
