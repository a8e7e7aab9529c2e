"""A worker's compute: admit, step, decode. It knows models and tables, and nothing of queues.

Prompts are encoded and latents decoded in lanes: in the step loop's own thread, or beside it. What a lane has done is
taken up at the next turn.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from pacer.control.batcher import Batcher
from pacer.control.policies import POLICIES, Policy
from pacer.control.requests import Request
from pacer.errors import ErrorKind
from pacer.jobs.messages import Claim, Job
from schedules.table import TableError
from workers.decoding import SLICE, Decoded, decode
from workers.device import DeviceLostError, is_lost
from workers.families.base import Family, PictureError, hand_over_guidance
from workers.lanes import open_lane
from workers.loras import LoraError, Loras, LoraSet
from workers.memory import Shape, Stage
from workers.networks import Networks
from workers.pictures import read_picture
from workers.prompts import PromptCache
from workers.runner import Runner, Spec
from workers.speed import SpeedMeter
from workers.turn import Drawn, Failed, Turn

_WAIT_S = 0.1  # longest wait for a lane, so that a stop is heard


class _Company(NamedTuple):
    """What is equal among the jobs that step together."""

    shape: Shape
    loras: LoraSet
    alone: str | None  # a job that takes no other with it


@dataclass(slots=True, eq=False)
class _Held:
    claim: Claim
    admitted_s: float
    ends_s: float  # when its last step must be done, or its picture is worth nothing
    loras: LoraSet = ()
    encode_s: float = 0.0
    stepping_s: float = 0.0  # when its prompt was encoded
    step: int = 0


class _Encoded(NamedTuple):
    spec: Spec
    loras: LoraSet
    seconds: float


class Engine:
    """Draws the claimed jobs, many at once.

    Args:
        family: the model.
        slots: most requests held at once.
        max_rows: most rows of one network call, where there is memory for them.
        best_effort_slack_s: slack given to jobs without a deadline.
        last_attempt: from which attempt on, at least the second, a job steps alone: if it is the one that brings its
            workers down, it takes no other with it.
        policy: which requests step first when not all fit into one batch.
        aging_s: seconds after which a request no longer waits for the policy's favour.
        batch_invariant: whether a picture's bits must not depend on what else is in the batch.
        overlap: whether prompts are encoded and latents decoded beside the step loop.
        prompt_cache_bytes: most bytes of encoded prompts kept.
        on_out_of_memory: told the stage of each call that ran out of memory and is made again in parts.
        loras: those that jobs may name; none by default.
        smaller: the model with another network in place of its own, by the name that rows of a schedule have for it.

    `admit` and `turn` raise DeviceLostError, after which the engine is of no use.

    Raises:
        CachingHookError: one of the model's networks reuses activations between calls.
    """

    def __init__(
        self,
        family: Family,
        *,
        slots: int,
        max_rows: int,
        best_effort_slack_s: float,
        last_attempt: int = 3,
        policy: Policy = POLICIES["balanced"],
        aging_s: float = math.inf,
        batch_invariant: bool = False,
        overlap: bool = False,
        prompt_cache_bytes: int = 2**28,
        on_out_of_memory: Callable[[Stage], None] = lambda _stage: None,
        loras: Loras | None = None,
        smaller: Mapping[str, Family] | None = None,
    ) -> None:
        self._networks = Networks(
            family, smaller, max_rows=max_rows, invariant=batch_invariant, on_out_of_memory=on_out_of_memory
        )
        self._family = self._networks.own
        self._batch_invariant = batch_invariant
        self._loras = loras or Loras.none()
        self._runner = Runner(self._networks, slots, invariant=batch_invariant)
        self._batcher = Batcher(slots, self._row_limit, policy, aging_s)
        self._slots = slots
        self._best_effort_slack_s = best_effort_slack_s
        self._last_attempt = max(2, last_attempt)
        self._held: dict[str, _Held] = {}
        self._prompts = PromptCache(prompt_cache_bytes)
        self._encoder = open_lane("encode", family.device, beside=overlap)
        self._decoder = open_lane("decode", family.device, beside=overlap)
        self._encoding: deque[tuple[_Held, Future[_Encoded]]] = deque()
        self._decoding: deque[tuple[list[_Held], Future[Decoded]]] = deque()
        self.speed = SpeedMeter(max_rows)
        self._stepped_s: float | None = None  # when the last turn ended, if it stepped

    def __len__(self) -> int:
        return len(self._held)

    @property
    def free(self) -> int:
        """Jobs that can still be admitted."""
        return self._slots - len(self._held)

    def close(self) -> None:
        """Begin nothing more beside the step loop."""
        self._encoder.close()
        self._decoder.close()

    def _row_limit(self, company: Hashable) -> int:
        if not isinstance(company, _Company):
            raise TypeError(f"{company!r} is no company of jobs: this is a bug")
        return self._family.rows(company.shape)

    def warm_up(self, width: int, height: int) -> None:
        """Draw nothing once, so that the first request does not pay for what libraries set up on first use."""
        self._networks.warm_up(width, height)

    def remeasure(self) -> None:
        """See how fast a guided image's turn is now, with nothing to draw; before `warm_up` it does nothing."""
        if (seconds := self._networks.try_turn(rows=2)) is not None:
            self.speed.tried(seconds, rows=2)

    def progress(self) -> tuple[tuple[Claim, int], ...]:
        """The jobs held and the evaluations that each has behind it."""
        return tuple((held.claim, held.step) for held in self._held.values())

    def admit(self, claim: Claim) -> Failed | None:
        """Take a job in; says so where it is known already that it cannot be drawn at all."""
        now_s = time.monotonic()
        held = _Held(claim, now_s, math.inf if claim.job.deadline_s is None else self._steps_end_s(claim))
        self._held[claim.job.id] = held
        encoded = self._encoder.submit(partial(self._encode, claim))
        if encoded.done():
            return self._seat(held, encoded)
        self._encoding.append((held, encoded))
        return None

    def adopt(self, claim: Claim) -> bool:
        """Go on under a new claim with a job that is here already; False where it is not.

        A worker that was paused for longer than a lease gets its own jobs back.
        """
        held = self._held.get(claim.job.id)
        if held is None:
            return False
        held.claim = msgspec.structs.replace(claim, job=held.claim.job)  # which may go on by a plan of its own by now
        return True

    def _encode(self, claim: Claim) -> _Encoded:
        started, job = time.monotonic(), claim.job
        loras = self._find_loras(claim)
        with self._loras.on(loras):
            texts = [
                self._prompts.encode(self._family, job.prompt, negative=False, loras=loras),
                self._prompts.encode(self._family, job.negative_prompt, negative=True, loras=loras),
            ]
        (positive, negative), scale = hand_over_guidance(texts, job.guidance_scale, job.true_cfg_scale)
        shape = self._family.latent_shape(job.width, job.height)
        picture = read_picture(claim, self._family, shape)
        spec = Spec(job.table.table(), scale, job.seed, shape, positive, negative, picture)
        return _Encoded(spec, loras, time.monotonic() - started)

    def _find_loras(self, claim: Claim) -> LoraSet:
        if claim.job.plan.lora and any(claim.job.table.networks):
            raise LoraError("lora: fits the model's own network alone, and this schedule has rows for a smaller one")
        if claim.job.plan.lora and self._batch_invariant:
            raise LoraError("lora: is not offered in batch-invariant mode (PACER_BATCH_INVARIANT)")
        return self._loras.find(claim.job.plan.lora)

    def _seat(self, held: _Held, encoded: Future[_Encoded]) -> Failed | None:
        """Give an encoded job its slot."""
        job = held.claim.job
        try:
            spec, held.loras, held.encode_s = encoded.result()
            self._runner.admit(job.id, spec)
            with self._loras.on(held.loras):
                self._networks.prepare(spec.shape, (spec.positive, spec.negative), spec.table.networks)
        except (TableError, PictureError, LoraError) as error:
            return self._fail(held, ErrorKind.invalid_request, str(error))
        except Exception as error:  # noqa: BLE001 -- one odd prompt must not end the worker for everybody
            _check_device(error, [job.id])
            return self._fail(held, ErrorKind.worker_failed, _told(error))
        rows = tuple(int(n) for n in spec.table.forwards(spec.guidance_scale))
        deadline = self._steps_end_s(held.claim)
        company = _Company(spec.shape, held.loras, None if held.claim.attempt < self._last_attempt else job.id)
        self._batcher.admit(Request(job.id, company, rows, deadline, admitted_s=held.admitted_s))
        held.stepping_s = time.monotonic()
        if spec.picture is None and not held.loras:  # what is published is the time of a prompt alone
            self.speed.encoded(held.encode_s)
        return None

    def _steps_end_s(self, claim: Claim) -> float:
        """When its steps must be done, so that there is time for what follows them; time.monotonic()."""
        waited = (claim.claimed_ms - claim.submitted_ms) / 1000
        allowed = claim.job.deadline_s
        return (
            claim.claimed_s - waited + (self._best_effort_slack_s if allowed is None else allowed - self.speed.tail_s)
        )

    def replan(self, job: Job) -> Claim | None:
        """Go on with a job that steps here by another plan, whose table begins with what was evaluated already.

        Args:
            job: the same but for its plan and table.

        Returns:
            Its claim; None where it does not step here, or the table begins otherwise or is not for it.
        """
        held = self._held.get(job.id)
        if held is None or job.id not in self._batcher:
            return None
        table = job.table.table()
        try:
            self._runner.replan(job.id, table)
        except TableError:
            return None
        self._batcher.replan(job.id, tuple(int(n) for n in table.forwards(self._runner.scale(job.id))))
        held.claim = msgspec.structs.replace(held.claim, job=job)
        return held.claim

    def drop(self, job_id: str, fence: int | None = None) -> Claim | None:
        """Let go of a job that is cancelled or lost; None where it is not here, or here under another fence."""
        held = self._held.get(job_id)
        if held is None or fence not in (None, held.claim.fence):
            return None
        # What a lane still does for it is not taken up.
        del self._held[job_id]
        self._batcher.remove(job_id)
        if job_id in self._runner:
            self._runner.release(job_id)
        return held.claim

    def turn(self) -> Turn:
        """One evaluation of the most urgent compatible requests; finished ones come back as pictures."""
        unseated = [*self._seat_encoded(), *self._expire()]
        started = time.monotonic()
        batch = self._batcher.pick(started, self.speed.cost)
        if batch and self._stepped_s is not None:
            self.speed.paused(started - self._stepped_s)
        rows = sum(request.next_rows for request in batch)
        splits, mixes = self._networks.splits, self._runner.mixes([request.id for request in batch])
        failed = self._step([request.id for request in batch])
        seconds = time.monotonic() - started
        self._stepped_s = started + seconds if batch else None
        if batch and splits == self._networks.splits and not mixes:  # the line is that of the model's own network
            self.speed.stepped(seconds, rows)
        stepped = [request.id for request in batch if request.id in self._held]
        for job_id in stepped:
            self._held[job_id].step += 1
        unfinished = self._finish_stepping([request.id for request in self._batcher.advance(stepped)])
        if not batch:
            self._wait()
        ended = (*unseated, *failed, *unfinished, *self._collect())
        return Turn(tuple(request.id for request in batch), rows, seconds, ended)

    def _expire(self) -> list[Failed]:
        """Give up what is past its deadline before its last step; what is being decoded is as good as done."""
        now_s = time.monotonic()
        totals = ((held, len(held.claim.job.table.uncond)) for held in self._held.values())
        late = [(held, total) for held, total in totals if held.ends_s <= now_s and held.step < total]
        detail = "Its deadline passed after {} of {} evaluations."
        return [self._fail(held, ErrorKind.deadline_passed, detail.format(held.step, total)) for held, total in late]

    def _wait(self) -> None:
        """Wait until a lane has done something, where there is nothing to step."""
        under_way = [future for _, future in (*self._encoding, *self._decoding)]
        if under_way:
            wait(cast("list[Future[object]]", under_way), timeout=_WAIT_S, return_when=FIRST_COMPLETED)

    def _seat_encoded(self) -> list[Failed]:
        failed = []
        while self._encoding and self._encoding[0][1].done():
            held, encoded = self._encoding.popleft()
            if self._is_here(held) and (failure := self._seat(held, encoded)):
                failed.append(failure)
        return failed

    def _is_here(self, held: _Held) -> bool:
        """Whether a job was not dropped meanwhile."""
        return self._held.get(held.claim.job.id) is held

    def _step(self, job_ids: Sequence[str]) -> list[Failed]:
        """Step together; where that raises, step each alone, so that only the guilty fail."""
        if not job_ids:
            return []
        try:
            with self._loras.on(self._held[job_ids[0]].loras):  # a batch has one set
                overflowed = self._runner.step(job_ids)
        except Exception as error:  # noqa: BLE001 -- whatever a network raises must cost no more than its own request
            _check_device(error, job_ids)
            if len(job_ids) > 1:
                return [failure for job_id in job_ids for failure in self._step([job_id])]
            return [self._fail(self._held[job_ids[0]], ErrorKind.worker_failed, _told(error))]
        detail = "The network's output was not finite."
        return [self._fail(self._held[job_id], ErrorKind.not_finite, detail) for job_id in overflowed]

    def _fail(self, held: _Held, kind: ErrorKind, detail: str) -> Failed:
        if self.drop(held.claim.job.id) is None:
            raise RuntimeError(f"job {held.claim.job.id} failed without being held: this is a bug")
        return Failed(held.claim, kind, detail)

    def _finish_stepping(self, job_ids: Sequence[str]) -> list[Failed]:
        """Send the latents of finished requests to be decoded, and free their slots."""
        failed = []
        for start in range(0, len(job_ids), SLICE):
            part = job_ids[start : start + SLICE]
            try:
                latents = self._runner.results(part)
            except Exception as error:  # noqa: BLE001 -- as in _step
                _check_device(error, part)
                failed += [self._fail(self._held[job_id], ErrorKind.worker_failed, _told(error)) for job_id in part]
                continue
            for job_id in part:
                self._runner.release(job_id)
            decoded = self._decoder.submit(partial(decode, self._family, latents))
            self._decoding.append(([self._held[job_id] for job_id in part], decoded))
        return failed

    def _collect(self) -> list[Drawn | Failed]:
        """What the decoder has done, in the order in which it was asked."""
        ended: list[Drawn | Failed] = []
        while self._decoding and self._decoding[0][1].done():
            slice_, future = self._decoding.popleft()
            decoded = self._result(slice_, future)
            self.speed.decoded(decoded.seconds)
            ended += [
                self._end(held, picture, decoded)
                for held, picture in zip(slice_, decoded.pictures, strict=True)
                if self._is_here(held)
            ]
        return ended

    def _result(self, slice_: Sequence[_Held], future: Future[Decoded]) -> Decoded:
        try:
            return future.result()
        except Exception as error:
            _check_device(error, [held.claim.job.id for held in slice_])
            raise

    def _end(self, held: _Held, picture: NDArray[np.uint8] | Exception | None, decoded: Decoded) -> Drawn | Failed:
        if picture is None:
            return self._fail(held, ErrorKind.not_finite, "The last sample was not finite.")
        if isinstance(picture, Exception):
            return self._fail(held, ErrorKind.worker_failed, _told(picture))
        del self._held[held.claim.job.id]
        denoise_s = decoded.started_s - held.stepping_s
        return Drawn(held.claim, picture, held.encode_s, denoise_s, decoded.seconds)


def _check_device(error: Exception, job_ids: Sequence[str]) -> None:
    """Raise DeviceLostError where an error is no one job's own."""
    if is_lost(error):
        raise DeviceLostError(tuple(job_ids), error) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
