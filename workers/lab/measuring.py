"""Measure samplers on held-out seeds against the teacher at equal seed; equal samplers once, also across runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from schedules.evidence import Figure
from schedules.search.evaluate import bootstrap, bootstrap_ratio, seed_errors, ssim
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.rollout import Rollout
from schedules.table import FloatArray
from workers.lab.candidate import Candidate, draw, packed
from workers.lab.model import Pixels
from workers.lab.store import Json, LabStore
from workers.lab.subject import Subject

_KIND = "compared"
_PICTURES = 4  # axes of a batch of pictures


@dataclass(frozen=True, eq=False)
class Stand:
    """Held-out seeds and what the teacher drew from them.

    Attributes:
        subject: the model.
        problem: the seeds.
        target: the teacher's latents, shape (M, *latent).
        prompts: one for each seed.
        key: what made the teacher; names what is kept on disk.
        store: where that lies.
    """

    subject: Subject
    problem: SearchProblem
    target: Tensor
    prompts: tuple[str, ...]
    key: Mapping[str, object]
    store: LabStore


class Measurer:
    """Measures on one stand.

    Args:
        stand: the seeds.
        fresh: measure anew, once, what is on disk.
    """

    def __init__(self, stand: Stand, *, fresh: bool = False) -> None:
        self._stand, self._fresh = stand, fresh
        self._again: set[str] = set()
        self._latest: Rollout | None = None

    def measure(self, candidate: Candidate, *, scored: bool = True) -> Json:
        """Figures of every seed and "evaluations".

        Those of a seed are "psnr_db" and "latent_mse"; with a judge the "task_scores"; of pictures without one "ssim".

        Args:
            candidate: the sampler.
            scored: whether the judge is asked, which takes its time.

        Raises:
            ValueError: a result is not finite.
        """
        judged = scored and self._stand.subject.model.score is not None
        networks = candidate.table.networks if isinstance(candidate, Sampler) else ()
        named = self._stand.subject.model.identity_of(networks)
        key = {**self._stand.key, **named, "candidate": packed(candidate), "judged": judged}
        name = repr((key["candidate"], judged))
        again = self._fresh and name not in self._again
        self._again.add(name)
        return self._stand.store.record(_KIND, key, lambda: self._measured(candidate, judged=judged), again=again)

    def quality(self, candidate: Candidate) -> Figure | None:
        """Its task score as a share of the teacher's; without a judge, SSIM to its pictures; None without either."""
        teacher, own = self.teacher_scores(), self.measure(candidate)
        if teacher is not None and teacher.any():
            return bootstrap_ratio(np.array(own["task_scores"], dtype=np.float64), teacher)
        return bootstrap(np.array(own["ssim"], dtype=np.float64)) if "ssim" in own else None

    def teacher_scores(self) -> FloatArray | None:
        """The teacher's own task score of every seed, shape (M,); None without a judge."""
        if self._stand.subject.model.score is None:
            return None
        key = {**self._stand.key, "candidate": "teacher", "judged": True}
        record = self._stand.store.record(_KIND, key, lambda: {"task_scores": self._scores(self._stand.target)})
        return np.array(record["task_scores"], dtype=np.float64)

    @cached_property
    def _levels(self) -> Tensor:
        return self._stand.subject.view(self._stand.target, self._stand.problem.batch)

    def _measured(self, candidate: Candidate, *, judged: bool) -> Json:
        stand = self._stand
        drawn = draw(stand.problem, candidate, after=self._latest)
        self._latest = drawn.rollout or self._latest
        if not torch.isfinite(drawn.final).all():
            raise ValueError("its results are not finite")
        levels = stand.subject.view(drawn.final, stand.problem.batch)
        figures: Json = {
            "psnr_db": stand.subject.psnr_db(levels, self._levels).tolist(),
            "latent_mse": seed_errors(drawn.final, stand.target).tolist(),
            "evaluations": drawn.evaluations,
        }
        if judged:
            figures["task_scores"] = self._scores(drawn.final)
        elif stand.subject.model.score is None and levels.ndim == _PICTURES:
            figures["ssim"] = ssim(levels.cpu().numpy(), self._levels.cpu().numpy()).tolist()
        return figures

    def _scores(self, latents: Tensor) -> list[float]:
        model = self._stand.subject.model
        if model.score is None:
            raise ValueError(f"{model.name} has no judge")
        parts = latents.split(self._stand.problem.batch)
        pixels: Pixels = np.concatenate([model.decode(part) for part in parts])
        scores: list[float] = model.score(self._stand.prompts, pixels).tolist()
        return scores
