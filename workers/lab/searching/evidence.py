"""Evidence: what an artefact claims, measured on held-out seeds, baselines beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schedules.evidence import Evidence, Figure
from schedules.search.evaluate import bootstrap
from schedules.search.method import Sampler
from workers.lab.measuring import Measurer
from workers.lab.searching.run import SearchRun


class Evidences:
    """Measures samplers on one run's held-out seeds."""

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._measurer = Measurer(run.stand)

    def of(self, sampler: Sampler) -> Evidence:
        """The evidence of one sampler, the baselines with as many evaluations beside it."""
        own = self._measurer.measure(sampler)
        seeds, baselines = self._run.held_out.seeds, self._run.baselines(self._run.equal_steps(sampler.table))
        return Evidence(
            psnr_db=_figure(own, "psnr_db"),
            latent_mse=_figure(own, "latent_mse"),
            task_score=_figure(own, "task_scores").mean if "task_scores" in own else None,
            quality=self._measurer.quality(sampler),
            seeds=len(seeds.prompts),
            seed_offset=seeds.offset,
            teacher_steps=self._run.request.teacher_steps,
            baselines_psnr_db={
                name: _figure(self._measurer.measure(other, scored=False), "psnr_db")
                for name, other in baselines.items()
            },
        )


def _figure(measured: Mapping[str, object], name: str) -> Figure:
    return bootstrap(np.array(measured[name], dtype=np.float64))
