"""What methods are compared on: a model, the teacher that says what is right, and how pictures are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pacer.settings import Settings
from schedules.search.evaluate import ROUNDING
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher, run_teacher
from workers.lab import digits, mixture
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
    """

    model: LabModel
    teach: Teach
    exact: bool = False
    levels: Levels | None = None
    floor: float = ROUNDING

    def view(self, latents: Tensor) -> Tensor:
        """Latents as they are compared, float."""
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
        ValueError: the model cannot be loaded, is no flow model, or has no prompts.
    """
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    if name == mixture.NAME:
        return Subject(mixture.mixture_model(), mixture.exact_teacher, exact=True, levels=mixture.levels, floor=1e-9)
    model = digits.digits_model() if name == digits.NAME else open_model(name, settings, prompts)
    return Subject(model, lambda problem, steps, nodes: run_teacher(problem, steps, nodes=nodes))


def chunks(latents: Tensor, size: int, of: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of latents, part by part, so that decoding stays within memory."""
    parts: Sequence[Tensor] = [of(part) for part in latents.split(size)]
    return torch.cat(list(parts))
