"""A worker's compute: admit, step, decode. It knows models and tables, and nothing of queues or threads."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pacer.control.batcher import Batcher
from pacer.control.policies import POLICIES, Policy
from pacer.control.requests import Request
from pacer.errors import ErrorKind
from pacer.jobs.messages import Claim, Job
from schedules.table import TableError
from workers.device import DeviceLostError, is_lost
from workers.families.base import Conditioning, Family
from workers.runner import Runner, Spec
from workers.speed import SpeedMeter

_REMEMBERED_PROMPTS = 256


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished picture, and the seconds that its stages took."""

    claim: Claim
    pixels: NDArray[np.uint8]
    encode_s: float
    denoise_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that ended without a picture."""

    claim: Claim
    kind: ErrorKind
    detail: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did: its requests, its network rows, its seconds, and what ended in it."""

    stepped: tuple[str, ...]
    rows: int
    seconds: float
    ended: tuple[Drawn | Failed, ...]


@dataclass(slots=True)
class _Held:
    claim: Claim
    admitted_s: float
    encode_s: float
    step: int = 0


class Engine:
    """Draws the claimed jobs, many at once.

    Args:
        family: the model.
        slots: most requests held at once.
        max_rows: most rows of one network call.
        best_effort_slack_s: slack given to jobs without a deadline.
        last_attempt: from which attempt on, at least the second, a job steps alone: if it is the one that brings its
            workers down, it takes no other with it.
        policy: which requests step first when not all fit into one batch.
        aging_s: seconds after which a request no longer waits for the policy's favour.

    `admit` and `turn` raise DeviceLostError, after which the engine is of no use.
    """

    def __init__(
        self,
        family: Family,
        *,
        slots: int,
        max_rows: int,
        best_effort_slack_s: float,
        last_attempt: int = 3,
        policy: Policy = POLICIES["least_slack"],
        aging_s: float = math.inf,
    ) -> None:
        self._family = family
        self._runner = Runner(family, slots)
        self._batcher = Batcher(slots, max_rows, policy, aging_s)
        self._best_effort_slack_s = best_effort_slack_s
        self._last_attempt = max(2, last_attempt)
        self._held: dict[str, _Held] = {}
        self._prompts: OrderedDict[str, Conditioning] = OrderedDict()
        self.speed = SpeedMeter()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def free(self) -> int:
        """Jobs that can still be admitted."""
        return self._batcher.free

    def warm_up(self, width: int, height: int) -> None:
        """Draw nothing once, so that the first request does not pay for what libraries set up on first use."""
        texts = self._family.encode([""])
        latent = torch.zeros(1, *self._family.latent_shape(width, height), device=self._family.device)
        self._family.denoise(latent, torch.ones(1, device=self._family.device), texts)
        self._family.decode(latent)

    def progress(self) -> tuple[tuple[Claim, int], ...]:
        """The jobs held and the evaluations that each has behind it."""
        return tuple((held.claim, held.step) for held in self._held.values())

    def admit(self, claim: Claim) -> Failed | None:
        """Take a job in; says so where it cannot be drawn at all."""
        started = time.monotonic()
        try:
            spec = self._spec(claim.job)
            self._runner.admit(claim.job.id, spec)
        except TableError as error:
            return Failed(claim, ErrorKind.invalid_request, str(error))
        except Exception as error:  # noqa: BLE001 -- one odd prompt must not end the worker for everybody
            _check_device(error, [claim.job.id])
            return Failed(claim, ErrorKind.worker_failed, _told(error))
        rows = tuple(int(n) for n in spec.table.forwards(spec.guidance_scale))
        deadline = started + self._time_left(claim)
        self._batcher.admit(Request(claim.job.id, self._company(claim, spec), rows, deadline, admitted_s=started))
        now = time.monotonic()
        self._held[claim.job.id] = _Held(claim, now, now - started)
        self.speed.encoded(now - started)
        return None

    def adopt(self, claim: Claim) -> bool:
        """Go on under a new claim with a job that is here already; False where it is not.

        A worker that was paused for longer than a lease gets its own jobs back.
        """
        held = self._held.get(claim.job.id)
        if held is None:
            return False
        held.claim = claim
        return True

    def _spec(self, job: Job) -> Spec:
        positive, negative = self._encode([job.prompt, job.negative_prompt])
        shape = self._family.latent_shape(job.width, job.height)
        return Spec(job.table.table(), job.guidance_scale, job.seed, shape, positive, negative)

    def _encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._prompts]
        if new:
            self._prompts.update(zip(new, self._family.encode(new), strict=True))
        for prompt in prompts:
            self._prompts.move_to_end(prompt)
        found = [self._prompts[prompt] for prompt in prompts]
        while len(self._prompts) > _REMEMBERED_PROMPTS:
            self._prompts.popitem(last=False)
        return found

    def _company(self, claim: Claim, spec: Spec) -> Hashable:
        """What is equal among the jobs that step together."""
        return spec.shape if claim.attempt < self._last_attempt else (claim.job.id, spec.shape)

    def _time_left(self, claim: Claim) -> float:
        waited = (claim.claimed_ms - claim.submitted_ms) / 1000
        allowed = claim.job.deadline_s
        return (self._best_effort_slack_s if allowed is None else allowed) - waited

    def drop(self, job_id: str, fence: int | None = None) -> Claim | None:
        """Let go of a job that is cancelled or lost; None where it is not here, or here under another fence."""
        held = self._held.get(job_id)
        if held is None or fence not in (None, held.claim.fence):
            return None
        del self._held[job_id]
        self._batcher.remove(job_id)
        self._runner.release(job_id)
        return held.claim

    def turn(self) -> Turn:
        """One evaluation of the most urgent compatible requests; finished ones come back as pictures."""
        started = time.monotonic()
        batch = self._batcher.pick(started, self.speed.cost)
        rows = sum(request.rows[request.step] for request in batch)
        failed = self._step([request.id for request in batch])
        seconds = time.monotonic() - started
        if batch:
            self.speed.stepped(seconds, rows)
        stepped = [request.id for request in batch if request.id in self._held]
        for job_id in stepped:
            self._held[job_id].step += 1
        finished = [request.id for request in self._batcher.advance(stepped)]
        drawn = self._decode(finished) if finished else []
        return Turn(tuple(request.id for request in batch), rows, seconds, (*failed, *drawn))

    def _step(self, job_ids: Sequence[str]) -> list[Failed]:
        """Step together; where that raises, step each alone, so that only the guilty fail."""
        if not job_ids:
            return []
        try:
            overflowed = self._runner.step(job_ids)
        except Exception as error:  # noqa: BLE001 -- whatever a network raises must cost no more than its own request
            _check_device(error, job_ids)
            if len(job_ids) > 1:
                return [failure for job_id in job_ids for failure in self._step([job_id])]
            return [self._fail(job_ids[0], ErrorKind.worker_failed, _told(error))]
        detail = "The network's output was not finite."
        return [self._fail(job_id, ErrorKind.not_finite, detail) for job_id in overflowed]

    def _fail(self, job_id: str, kind: ErrorKind, detail: str) -> Failed:
        claim = self.drop(job_id)
        if claim is None:
            raise RuntimeError(f"job {job_id} failed without being held: this is a bug")
        return Failed(claim, kind, detail)

    def _decode(self, job_ids: Sequence[str]) -> list[Drawn | Failed]:
        """Decode together; where that raises, each alone, so that only the guilty fail."""
        started = time.monotonic()
        try:
            latents = self._runner.results(job_ids)
            pixels = self._family.decode(latents)
        except Exception as error:  # noqa: BLE001 -- as in _step
            _check_device(error, job_ids)
            if len(job_ids) > 1:
                return [ended for job_id in job_ids for ended in self._decode([job_id])]
            return [self._fail(job_ids[0], ErrorKind.worker_failed, _told(error))]
        seconds = (time.monotonic() - started) / len(job_ids)
        self.speed.decoded(seconds)
        finite = latents.isfinite().flatten(1).all(1).tolist()
        return [
            self._finish(job_id, picture, decode_s=seconds, decoding_s=started)
            if good
            else self._fail(job_id, ErrorKind.not_finite, "The last sample was not finite.")
            for job_id, good, picture in zip(job_ids, finite, pixels, strict=True)
        ]

    def _finish(self, job_id: str, picture: NDArray[np.uint8], *, decode_s: float, decoding_s: float) -> Drawn:
        held = self._held.pop(job_id)
        self._runner.release(job_id)
        denoise_s = decoding_s - held.admitted_s
        return Drawn(held.claim, picture, held.encode_s, denoise_s, decode_s)


def _check_device(error: Exception, job_ids: Sequence[str]) -> None:
    """Raise DeviceLostError where an error is no one job's own."""
    if is_lost(error):
        raise DeviceLostError(tuple(job_ids), error) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
