"""Measure samplers on the held-out seeds of a comparison; equal samplers are measured once, also across runs."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from schedules.search.evaluate import seed_errors
from schedules.search.rollout import Rollout
from workers.lab.candidate import Candidate, draw, packed
from workers.lab.comparison import Comparison
from workers.lab.model import Pixels
from workers.lab.store import Json

_KIND = "compared"


class Measurer:
    """Measures on one run's held-out seeds."""

    def __init__(self, run: Comparison) -> None:
        self._run = run
        self._again: set[str] = set()
        self._latest: Rollout | None = None

    def measure(self, candidate: Candidate) -> Json:
        """Figures of every seed ("psnr_db", "latent_mse"), "evaluations" and, with a judge, the "task_score".

        Raises:
            ValueError: a result is not finite.
        """
        key = {**self._run.key("held-out"), "candidate": packed(candidate)}
        name = repr(key["candidate"])
        again = self._run.fresh and name not in self._again
        self._again.add(name)
        return self._run.store.record(_KIND, key, lambda: self._measured(candidate), again=again)

    def teacher_score(self) -> float | None:
        """The teacher's own task score."""
        score = self._run.subject.model.score
        if score is None:
            return None

        def make() -> Json:
            return {"task_score": score(self._run.held_out.prompts, self._pixels(self._run.teacher.final))}

        key = {**self._run.key("held-out"), "candidate": "teacher"}
        return float(str(self._run.store.record(_KIND, key, make)["task_score"]))

    @cached_property
    def _target(self) -> Tensor:
        return self._run.subject.view(self._run.teacher.final, self._run.request.batch)

    def _measured(self, candidate: Candidate) -> Json:
        run = self._run
        drawn = draw(run.problem, candidate, after=self._latest)
        self._latest = drawn.rollout or self._latest
        if not torch.isfinite(drawn.final).all():
            raise ValueError("its results are not finite")
        levels = run.subject.view(drawn.final, run.request.batch)
        figures: Json = {
            "psnr_db": run.subject.psnr_db(levels, self._target).tolist(),
            "latent_mse": seed_errors(drawn.final, run.teacher.final).tolist(),
            "evaluations": drawn.evaluations,
        }
        if run.subject.model.score is not None:
            figures["task_score"] = run.subject.model.score(run.held_out.prompts, self._pixels(drawn.final))
        return figures

    def _pixels(self, latents: Tensor) -> Pixels:
        parts = latents.split(self._run.request.batch)
        return np.concatenate([self._run.subject.model.decode(part) for part in parts])
