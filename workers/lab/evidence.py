"""Evidence: grids measured on held-out seeds against the teacher at equal seed, baselines beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schedules.evidence import Evidence, Figure
from schedules.grids import GRIDS
from schedules.search.evaluate import bootstrap, psnr_db, seed_errors
from schedules.search.rollout import Rollout, roll_out
from schedules.table import FloatArray
from workers.lab.bench import Bench
from workers.lab.store import Json


class Evidences:
    """Measures grids of one bench's solver; equal grids are measured once, also across runs."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._split = bench.held_out
        self._pixels = bench.pixels(self._split.teacher.final)
        self._latest: Rollout | None = None

    def of(self, sigmas: FloatArray) -> Evidence:
        """The evidence of one grid, the baselines with as many steps beside it."""
        own = self._measure(sigmas, scored=self._bench.model.score is not None)
        baselines = {name: GRIDS[name](len(sigmas) - 1) for name in self._bench.request.baselines}
        return Evidence(
            psnr_db=_figure(own, "psnr_db"),
            latent_mse=_figure(own, "latent_mse"),
            task_score=float(str(own["task_score"])) if "task_score" in own else None,
            seeds=len(self._split.seeds.prompts),
            seed_offset=self._split.seeds.offset,
            teacher_steps=self._bench.request.teacher_steps,
            baselines_psnr_db={name: _figure(self._measure(grid), "psnr_db") for name, grid in baselines.items()},
        )

    def _measure(self, sigmas: FloatArray, *, scored: bool = False) -> Json:
        """A grid's figures of every seed; reading pictures back takes its time, so baselines are not scored."""
        solver = self._bench.request.solver
        key = {**self._split.key, "solver": solver, "sigmas": sigmas.tolist(), "scored": scored}
        return self._bench.store.record("measurements", key, lambda: self._run(sigmas, scored=scored))

    def _run(self, sigmas: FloatArray, *, scored: bool) -> Json:
        self._latest = roll_out(self._split.problem, self._bench.table(sigmas), after=self._latest)
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
