"""Evidence: what an artefact claims, measured on held-out seeds, baselines beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from schedules.evidence import SHARES, Evidence, Figure, Kept
from schedules.search.evaluate import bootstrap, tolerance_limit
from schedules.search.method import Sampler
from schedules.table import FloatArray
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
            name: _figure(self._measurer.measure(other, scored=False), "psnr_db") for name, other in baselines.items()
        }
        return self.of_itself(sampler).model_copy(update={"baselines_psnr_db": figures})

    def of_seeds(self, sampler: Sampler, figure: Literal["psnr_db", "ssim"]) -> FloatArray:
        """A figure of every seed, shape (n,); of none where nobody measures it."""
        return np.array(self._measurer.measure(sampler).get(figure, ()), dtype=np.float64)

    def of_itself(self, sampler: Sampler) -> Evidence:
        """The same without baselines."""
        own, seeds = self._measurer.measure(sampler), self._run.held_out.seeds
        return Evidence(
            psnr_db=_figure(own, "psnr_db"),
            kept_psnr_db=_kept(own, "psnr_db"),
            latent_mse=_figure(own, "latent_mse"),
            task_score=_figure(own, "task_scores").mean if "task_scores" in own else None,
            quality=self._measurer.quality(sampler),
            kept_ssim=_kept(own, "ssim") if "ssim" in own else (),
            seeds=len(seeds.prompts),
            seed_offset=seeds.offset,
            teacher_steps=self._run.request.teacher_steps,
        )


def _figure(measured: Mapping[str, object], name: str) -> Figure:
    return bootstrap(np.array(measured[name], dtype=np.float64))


def _kept(measured: Mapping[str, object], name: str) -> tuple[Kept, ...]:
    values = np.array(measured[name], dtype=np.float64)
    known = ((share, tolerance_limit(values, share)) for share in SHARES)
    return tuple(Kept(by=share, least=least) for share, least in known if least is not None)
