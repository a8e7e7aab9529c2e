"""What methods are compared on: a model, the teacher that says what is right, and how pictures are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pacer.settings import Settings
from schedules.search.evaluate import ROUNDING, seed_errors
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.teacher import Teacher, run_teacher
from schedules.table import FloatArray
from workers.lab import mixture
from workers.lab.loading import open_model
from workers.lab.model import LabModel

Teach = Callable[[SearchProblem, int, int], Teacher]
"""From seeds, steps and nodes to the teacher's trajectories."""

Levels = Callable[[Tensor], Tensor]
"""From latents (n, *latent) to what is compared, on a scale of 0 to 255."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One model to compare methods on.

    Attributes:
        model: the model.
        teach: makes its teacher.
        exact: whether the teacher is the true solution, whatever its steps.
        levels: what errors are measured in; decoded pixels by default.
        floor: squared errors in levels below this mean nothing.
        guidable: whether prompts guide it.
    """

    model: LabModel
    teach: Teach
    exact: bool = False
    levels: Levels | None = None
    floor: float = ROUNDING
    guidable: bool = True

    def view(self, latents: Tensor, batch: int) -> Tensor:
        """Latents (n, *latent) as they are compared, `batch` of them decoded at a time, shape (n, ...), float."""
        return torch.cat([self._levels(part) for part in latents.split(batch)])

    def split(self, problem: SearchProblem, final: Tensor) -> Split:
        """Seeds with their teacher's results (M, *latent), compared as they are judged."""
        return self._compared(problem, final, lambda latents: self.view(latents, problem.batch), self.floor)

    def smooth_split(self, problem: SearchProblem, final: Tensor) -> Split:
        """The same compared before rounding, so that errors have derivatives; latents where pictures come rounded."""
        paint = self.model.paint
        if self.levels is not None:
            return self.split(problem, final)
        if paint is None:
            return Split(problem, final)

        def painted(latents: Tensor) -> Tensor:
            return torch.cat([paint(part) for part in latents.split(problem.batch)])

        return self._compared(problem, final, painted, 2 * self.floor)  # both pictures will be rounded

    @staticmethod
    def _compared(problem: SearchProblem, final: Tensor, view: Levels, floor: float) -> Split:
        return Split(problem, view(final), view, floor=floor)

    def psnr_db(self, drawn: Tensor, reference: Tensor) -> FloatArray:
        """Peak signal to noise of each seed in dB, shape (n,); both as `view` gives them."""
        errors = np.maximum(seed_errors(drawn, reference), self.floor)
        return np.asarray(10 * np.log10(255**2 / errors))

    def _levels(self, latents: Tensor) -> Tensor:
        if self.levels is not None:
            return self.levels(latents)
        return torch.from_numpy(self.model.decode(latents)).float()


def open_subject(name: str, settings: Settings, prompts: Path | None = None) -> Subject:
    """A model of the laboratory, or any that can be served.

    Args:
        name: mixture-32, digits-8, a shipped model or a local folder.
        settings: the device and its threads.
        prompts: a file of prompts for models that bring none.

    Raises:
        ValueError: the model cannot be loaded, is distilled, or has no prompts.
    """
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    if name == mixture.NAME:
        mixed = mixture.mixture_model()
        return Subject(mixed, mixture.exact_teacher, exact=True, levels=mixture.levels, floor=1e-9, guidable=False)
    return Subject(
        open_model(name, settings, prompts), lambda problem, steps, nodes: run_teacher(problem, steps, nodes=nodes)
    )
