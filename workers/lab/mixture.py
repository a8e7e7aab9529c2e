"""mixture-32 for the lab: a Gaussian mixture in 32 dimensions, whose velocity and solution are known exactly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from schedules.search.analytic import MixtureFlow, gaussian_mixture, reference, trajectory
from schedules.search.problem import SearchProblem
from schedules.search.teacher import Teacher
from workers.lab.model import LabModel, Pixels
from workers.lab.prompts import SplitName

NAME = "mixture-32"
_RANGE = 8.0  # values from -4 to 4 stand for levels 0 to 255
_SHAPE = (4, 8)

_FLOW = gaussian_mixture()


@dataclass(frozen=True, slots=True)
class NoPrompts:
    """A model without prompts; seeds alone tell the splits apart."""

    def draw(self, split: SplitName, count: int, seed: int) -> tuple[str, ...]:
        """Empty prompts."""
        del split, seed
        return ("",) * count


def mixture_model() -> LabModel:
    """The mixture as a model; guidance changes nothing, as there are no prompts."""
    return LabModel(
        name=NAME,
        revision=None,
        weights_sha256=_hash(_FLOW),
        dtype="float64",
        size=_SHAPE[::-1],
        guidance_scale=1.0,
        latent_shape=(_FLOW.means.shape[1],),
        device=torch.device("cpu"),
        field=lambda _prompts: _FLOW,
        decode=_decode,
        prompts=NoPrompts(),
    )


def exact_teacher(problem: SearchProblem, steps: int, nodes: int) -> Teacher:
    """The true solution at `nodes` + 1 even levels, with the velocities there; `steps` is told, not taken.

    The velocities are the network's evaluations, `nodes` for each seed.
    """
    sigmas = np.linspace(1.0, 0.0, nodes + 1)
    if nodes == 1:
        states = torch.stack([problem.noise.double(), reference(_FLOW, problem.noise)]).float()
    else:
        states = trajectory(_FLOW, problem.noise, sigmas).float()
    velocities = torch.stack([problem.velocity(states[k], float(sigmas[k])) for k in range(nodes)])
    return Teacher(sigmas, states, velocities, steps)


def levels(latents: Tensor) -> Tensor:
    """Values on the scale of pixels without rounding, so that errors are compared to the last digit, float64."""
    return (latents.double() / _RANGE + 0.5) * 255


def _decode(latents: Tensor) -> Pixels:
    grey = levels(latents).reshape(-1, *_SHAPE, 1).clamp(0, 255).round().to(torch.uint8)
    return np.asarray(grey.expand(-1, -1, -1, 3).numpy()).copy()


def _hash(flow: MixtureFlow) -> str:
    parts = (flow.means.numpy(), flow.log_weights.numpy(), np.float64(flow.spread))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
