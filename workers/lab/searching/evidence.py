"""Evidence: what an artefact claims, measured on held-out seeds, baselines beside it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from schedules.evidence import Evidence
from schedules.search.method import Sampler
from schedules.table import FloatArray
from workers.lab.figures import evidence_of, figure
from workers.lab.measuring import Measurer
from workers.lab.searching.run import SearchRun


class Evidences:
    """Measures samplers on one run's held-out seeds."""

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._measurer = Measurer(run.stand)

    def of(self, sampler: Sampler) -> Evidence:
        """The evidence of one sampler, the baselines with as many evaluations beside it."""
        baselines = self._run.baselines(self._run.equal_steps(sampler.table))
        figures = {
            name: figure(self._measurer.measure(other, scored=False), "psnr_db") for name, other in baselines.items()
        }
        return self.of_itself(sampler).model_copy(update={"baselines_psnr_db": figures})

    def of_seeds(self, sampler: Sampler, figure: Literal["psnr_db", "ssim"]) -> FloatArray:
        """A figure of every seed, shape (n,); of none where nobody measures it."""
        return np.array(self._measurer.measure(sampler).get(figure, ()), dtype=np.float64)

    def of_itself(self, sampler: Sampler) -> Evidence:
        """The same without baselines."""
        run = self._run
        return evidence_of(self._measurer, sampler, run.held_out.seeds, run.request.teacher_steps)
