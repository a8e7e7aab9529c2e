"""From what was measured of every seed to the evidence that an artefact has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schedules.evidence import SHARES, Evidence, Figure, Kept
from schedules.search.evaluate import bootstrap, tolerance_limit
from workers.lab.candidate import Candidate
from workers.lab.measuring import Measurer
from workers.lab.seeds import SeedSet


def evidence_of(measurer: Measurer, candidate: Candidate, seeds: SeedSet, teacher_steps: int) -> Evidence:
    """The evidence of one sampler, without baselines.

    Args:
        measurer: on held-out seeds.
        candidate: the sampler.
        seeds: those that it measures on.
        teacher_steps: Euler steps of their teacher.
    """
    own = measurer.measure(candidate)
    return Evidence(
        psnr_db=figure(own, "psnr_db"),
        kept_psnr_db=_kept(own, "psnr_db"),
        latent_mse=figure(own, "latent_mse"),
        task_score=figure(own, "task_scores").mean if "task_scores" in own else None,
        quality=measurer.quality(candidate),
        kept_ssim=_kept(own, "ssim") if "ssim" in own else (),
        seeds=len(seeds.prompts),
        seed_offset=seeds.offset,
        teacher_steps=teacher_steps,
    )


def figure(measured: Mapping[str, object], name: str) -> Figure:
    """The mean of one figure over all seeds, with its interval."""
    return bootstrap(np.array(measured[name], dtype=np.float64))


def _kept(measured: Mapping[str, object], name: str) -> tuple[Kept, ...]:
    values = np.array(measured[name], dtype=np.float64)
    known = ((share, tolerance_limit(values, share)) for share in SHARES)
    return tuple(Kept(by=share, least=least) for share, least in known if least is not None)
