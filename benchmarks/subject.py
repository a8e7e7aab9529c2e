"""What the engine is measured with: a model as workers load it, or one of a real size with random weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.real_size import MULTIPLE, REAL_SIZES, build
from pacer.jobs.keys import new_job_id
from pacer.jobs.messages import Claim, Job, Plan, TableMessage
from schedules.compile import compile_table
from workers.families.base import Family, hand_over_guidance
from workers.families.registry import family_entry
from workers.models import load

PROMPT = "a red circle above a blue square on a gray background"
GUIDANCE = 4.0


class SizeError(ValueError):
    """Pictures of a size that the model does not draw; the message says what is allowed."""


@dataclass(frozen=True)
class Subject:
    """A model.

    Attributes:
        name: what it is asked for by.
        family: its adapter.
        dtype: of its network's weights.
        size: width and height of the pictures, in pixels.
    """

    name: str
    family: Family
    dtype: torch.dtype
    size: tuple[int, int]

    @property
    def guided_rows(self) -> int:
        """Rows of a guided request: one where the network takes the guidance scale as an input."""
        _, scale = hand_over_guidance(self.family.encode([PROMPT]), GUIDANCE)
        return 1 if scale == 1 else 2


def load_subject(name: str, device: torch.device, dtype: torch.dtype | None, side: int | None) -> Subject:
    """Load or build a model.

    Args:
        name: of a real size, a shipped model, a local folder or a hub id.
        device: where to.
        dtype: of its weights; by default bfloat16 for a real size, else what workers take.
        side: of the pictures, in pixels; by default the model's own size.

    Raises:
        SizeError: the model does not draw pictures of that size.
        ModelError: there is no such model.
        CardError: it has no card, or a malformed one.
    """
    if name in REAL_SIZES:
        return _built(name, device, dtype or torch.bfloat16, side or 1024)
    model = load(name, device, dtype)
    size = model.card.default_size if side is None else (side, side)
    if not model.card.allows(*size):
        raise SizeError(f"{name} does not draw {size[0]} x {size[1]} pixels; it draws {model.card.sizes}")
    return Subject(model.id, model.family, model.dtype, size)


def _built(name: str, device: torch.device, dtype: torch.dtype, side: int) -> Subject:
    if side < MULTIPLE or side % MULTIPLE:
        raise SizeError(f"{name} does not draw {side} x {side} pixels; a side must be a multiple of {MULTIPLE}")
    pipeline = build(name, device, dtype)
    adapter = family_entry(type(pipeline).__name__).load_adapter()
    return Subject(name, adapter(pipeline), dtype, (side, side))


def guided_claim(subject: Subject, steps: int, seed: int, prompt: str = PROMPT) -> Claim:
    """A guided job of a multistep solver, so that the whole history counts."""
    sigmas = np.linspace(1.0, 0.0, steps + 1)
    table = compile_table("ab2", sigmas, "flow")
    plan = Plan(subject.name, "custom", "ab2", steps, 2 * steps, tuple(sigmas.tolist()), None, None)
    width, height = subject.size
    job = Job(new_job_id(subject.name), prompt, "", seed, width, height, GUIDANCE, plan, TableMessage.of(table))
    return Claim(job, 1, 1, 0, 0)
