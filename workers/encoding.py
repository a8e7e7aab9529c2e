"""From a claim to what the runner starts from: its prompts, and its picture where it has one, encoded."""

from __future__ import annotations

import time
from typing import NamedTuple

from pacer.jobs.messages import Claim, Job
from workers.families.base import Conditioning, Family, hand_over_guidance
from workers.loras import LoraError, Loras, LoraSet
from workers.pictures import read_picture
from workers.prompts import PromptCache
from workers.runner import Spec


class Encoded(NamedTuple):
    """What the runner needs of a job, the LoRAs that it is drawn with, and the seconds that this took."""

    spec: Spec
    loras: LoraSet
    seconds: float


class Encoder:
    """Encodes jobs; for one thread at a time.

    Args:
        family: the model.
        prompt_cache_bytes: most bytes of encoded prompts kept.
        loras: those that jobs may name.
        batch_invariant: whether a picture's bits must not depend on what else is in the batch.
    """

    def __init__(self, family: Family, *, prompt_cache_bytes: int, loras: Loras, batch_invariant: bool) -> None:
        self._family = family
        self._prompts = PromptCache(prompt_cache_bytes)
        self._loras = loras
        self._batch_invariant = batch_invariant

    def encode(self, claim: Claim) -> Encoded:
        """Encode one job.

        Raises:
            PictureError: its picture cannot be drawn from.
            LoraError: a LoRA is not here, does not fit, or is not offered.
        """
        started, job = time.monotonic(), claim.job
        loras = self._find_loras(claim)
        with self._loras.on(loras):
            (positive, negative), scale = self._texts(job, loras)
        shape = self._family.latent_shape(job.width, job.height)
        picture = read_picture(claim, self._family, shape)
        spec = Spec(job.table.table(), scale, job.seed, shape, positive, negative, picture)
        return Encoded(spec, loras, time.monotonic() - started)

    def _texts(self, job: Job, loras: LoraSet) -> tuple[tuple[Conditioning, Conditioning | None], float]:
        """The prompt, the negative one if it counts, and the scale of classifier-free guidance."""
        texts = [self._prompts.encode(self._family, job.prompt, negative=False, loras=loras)]
        (positive,), scale = hand_over_guidance(texts, job.guidance_scale, job.true_cfg_scale)
        if scale == 1:
            return (positive, None), scale
        texts = [self._prompts.encode(self._family, job.negative_prompt, negative=True, loras=loras)]
        (negative,), _ = hand_over_guidance(texts, job.guidance_scale, job.true_cfg_scale)
        return (positive, negative), scale

    def _find_loras(self, claim: Claim) -> LoraSet:
        if claim.job.plan.lora and any(claim.job.table.networks):
            raise LoraError("lora: fits the model's own network alone, and this schedule has rows for a smaller one")
        if claim.job.plan.lora and self._batch_invariant:
            raise LoraError("lora: is not offered in batch-invariant mode (PACER_BATCH_INVARIANT)")
        return self._loras.find(claim.job.plan.lora)
