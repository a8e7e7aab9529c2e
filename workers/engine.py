"""A worker's compute: admit, step, decode. It knows models and tables, and nothing of queues.

Prompts are encoded and latents decoded in lanes, in the steps' own thread or beside it; a turn takes up what they did.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import cast

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from pacer.control.batcher import Batcher
from pacer.control.policies import POLICIES, Policy
from pacer.control.requests import Request
from pacer.control.turns import TurnCost
from pacer.errors import ErrorKind
from pacer.jobs.messages import Claim, Job
from schedules.table import TableError
from workers.decoding import SLICE, Decoded, decode
from workers.device import check_device
from workers.encoding import Encoded, Encoder
from workers.families.base import Family, PictureError
from workers.held import Company, Held, company_of
from workers.lanes import open_lane
from workers.loras import LoraError, Loras
from workers.memory import Stage, is_out_of_memory
from workers.networks import Networks
from workers.profiling import profile
from workers.runner import Runner
from workers.seats import Seats
from workers.slots import Histories
from workers.speed import SpeedMeter
from workers.turn import Drawn, Failed, GivenBack, Turn

_log = structlog.get_logger(__name__)
_WAIT_S = 0.1  # longest wait for a lane, so that a stop is heard


class Engine:
    """Draws the claimed jobs, many at once.

    Args:
        family: the model.
        slots: most requests held at once, beside `express` more.
        max_rows: most rows of one network call, where there is memory for them.
        best_effort_slack_s: slack given to jobs without a deadline.
        last_attempt: from which attempt on, at least the second, a job steps alone, lest it bring others down too.
        policy: which requests step first when not all fit into one batch.
        aging_s: seconds after which a request no longer waits for the policy's favour.
        batch_invariant: whether a picture's bits must not depend on what else is in the batch.
        overlap: whether prompts are encoded and latents decoded beside the steps.
        prompt_cache_bytes: most bytes of encoded prompts kept.
        on_out_of_memory: told the stage of each call that ran out of memory and is made again in parts.
        longest: most evaluations of an image that memory is set aside for.
        loras: those that jobs may name; none by default.
        smaller: the model with other networks in place of its own, by name.
        bucketed: whether calls are recorded by their number of rows, and batches are filled up to one of a few.

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
        express: int = 0,
        last_attempt: int = 3,
        policy: Policy = POLICIES["balanced"],
        aging_s: float = math.inf,
        batch_invariant: bool = False,
        overlap: bool = False,
        prompt_cache_bytes: int = 2**28,
        on_out_of_memory: Callable[[Stage], None] = lambda _stage: None,
        longest: int = 100,
        loras: Loras | None = None,
        smaller: Mapping[str, Family] | None = None,
        bucketed: bool = False,
    ) -> None:
        self._networks = Networks(
            family,
            smaller,
            max_rows=max_rows,
            invariant=batch_invariant,
            on_out_of_memory=on_out_of_memory,
            histories=Histories(slots + express, longest + 1),
            bucketed=bucketed,
        )
        self._on_out_of_memory = on_out_of_memory
        self._family = self._networks.own
        self._loras = loras or Loras.none()
        self._runner = Runner(self._networks, slots + express, invariant=batch_invariant)
        self._batcher = Batcher(slots + express, self._row_limit, policy, aging_s)
        self._seats = Seats(slots, express)
        self._best_effort_slack_s = best_effort_slack_s
        self._last_attempt = max(2, last_attempt)
        self._held: dict[str, Held] = {}
        self._encoder = Encoder(
            self._family, prompt_cache_bytes=prompt_cache_bytes, loras=self._loras, batch_invariant=batch_invariant
        )
        self._encode_lane = open_lane("encode", family.device, beside=overlap)
        self._decode_lane = open_lane("decode", family.device, beside=overlap)
        self._encoding: deque[tuple[Held, Future[Encoded]]] = deque()
        self._decoding: deque[tuple[list[Held], Future[Decoded]]] = deque()
        self.speed = SpeedMeter(max_rows)
        self._stepped_s: float | None = None  # when the last turn ended, if it stepped

    def __len__(self) -> int:
        return len(self._held)

    @property
    def free(self) -> int:
        """Jobs that can still be admitted."""
        return max(0, self.seats - len(self._held))

    @property
    def seats(self) -> int:
        """Jobs that are held at once; fewer once memory ran out for one."""
        return self._seats.count

    @property
    def closed(self) -> bool:
        """Whether no job is admitted before the last has left, so that memory is used anew."""
        return self._seats.closed(len(self._held))

    def close(self) -> None:
        """Begin nothing more beside the step loop."""
        self._encode_lane.close()
        self._decode_lane.close()

    def _row_limit(self, company: Hashable) -> int:
        return self._family.rows(company_of(company).shape)

    def _cost(self, company: Hashable) -> TurnCost:
        return self.speed.cost_at(company_of(company).pixels)

    def warm_up(self, width: int, height: int) -> None:
        """Draw nothing, so that the first request does not pay for what libraries set up, and see how fast that is."""
        self._networks.warm_up(width, height)
        self.speed.pixels = width * height
        profile(self._networks, self.speed)

    def remeasure(self) -> None:
        """See how fast a guided image's turn is now, with nothing to draw; before `warm_up` it does nothing."""
        if self._networks.is_warm:
            self.speed.tried(self._networks.try_turn(rows=2), rows=2)

    def progress(self) -> tuple[tuple[Claim, int], ...]:
        """The jobs held and the evaluations that each has behind it."""
        return tuple((held.claim, held.step) for held in self._held.values())

    def admit(self, claim: Claim) -> Failed | GivenBack | None:
        """Take a job in; says so where it is known already that it cannot be drawn at all, or not now."""
        if not self._seats.has_one_for(len(self._held) + 1):
            return GivenBack(claim)
        now_s = time.monotonic()
        held = Held(claim, now_s, math.inf if claim.job.deadline_s is None else self._steps_end_s(claim))
        self._held[claim.job.id] = held
        encoded = self._encode_lane.submit(partial(self._encoder.encode, claim))
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

    def _seat(self, held: Held, encoded: Future[Encoded]) -> Failed | GivenBack | None:
        """Give an encoded job its slot."""
        job = held.claim.job
        if not self._seats.has_one_for(len(self._held)):
            return self._give_back(held)
        try:
            spec, held.loras, held.encode_s = encoded.result()
            self._runner.make_way(spec.shape)
            with self._loras.on(held.loras):
                self._networks.prepare(spec.shape, spec.texts, spec.table.networks)
            self._runner.admit(job.id, spec)
        except (TableError, PictureError, LoraError) as error:
            return self._fail(held, ErrorKind.invalid_request, str(error))
        except Exception as error:  # noqa: BLE001 -- one odd prompt must not end the worker for everybody
            check_device(error, [job.id])
            if is_out_of_memory(error) and self._others_have_memory(encoded):
                return self._take_fewer(held)
            return self._fail(held, ErrorKind.worker_failed, _told(error))
        rows = tuple(int(n) for n in spec.table.forwards(spec.guidance_scale))
        deadline = self._steps_end_s(held.claim)
        alone = None if held.claim.attempt < self._last_attempt else job.id
        company = Company(spec.shape, held.loras, alone, job.pixels)
        self._batcher.admit(Request(job.id, company, rows, deadline, admitted_s=held.admitted_s))
        held.stepping_s = time.monotonic()
        if spec.picture is None and not held.loras:  # what is published is the time of a prompt alone
            self.speed.encoded(held.encode_s)
        return None

    def _others_have_memory(self, encoded: Future[Encoded]) -> bool:
        """Whether the last that was admitted may find memory where there are fewer seats."""
        return len(self._held) > 1 or (self.seats > 1 and encoded.exception() is None)

    def _take_fewer(self, held: Held) -> GivenBack:
        """Give back a job for which memory ran out, and seat fewer from now on."""
        self._seats.lower(len(self._held))
        self._runner.lower(self.seats)
        self._on_out_of_memory("seat")
        _log.warning("out of memory; fewer jobs will be held", job=held.claim.job.id, seats=self.seats)
        return self._give_back(held)

    def _give_back(self, held: Held) -> GivenBack:
        self.drop(held.claim.job.id)
        return GivenBack(held.claim)

    def _steps_end_s(self, claim: Claim) -> float:
        """When its steps must be done, so that there is time for what follows them; time.monotonic()."""
        arrived_s = claim.claimed_s - (claim.claimed_ms - claim.submitted_ms) / 1000
        allowed_s = claim.job.deadline_s
        if allowed_s is None:
            return arrived_s + self._best_effort_slack_s
        return arrived_s + (allowed_s - self.speed.tail_at(claim.job.pixels))

    def replan(self, job: Job) -> Claim | None:
        """Go on with a job that steps here by another plan, whose table begins with what was evaluated already.

        Args:
            job: the same but for its plan and table.

        Returns:
            Its claim; None where it does not step here, or the table begins otherwise, is not for it, or is too long
            for the memory there is.
        """
        held = self._held.get(job.id)
        if held is None or job.id not in self._batcher:
            return None
        table = job.table.table()
        try:
            self._runner.replan(job.id, table)
        except Exception as error:
            if isinstance(error, TableError) or is_out_of_memory(error):
                return None
            raise
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
        batch = self._batcher.pick(started, self._cost)
        if batch and self._stepped_s is not None:
            self.speed.paused(started - self._stepped_s)
        rows = sum(request.next_rows for request in batch)
        splits, mixes = self._networks.splits, self._runner.mixes([request.id for request in batch])
        failed = self._step([request.id for request in batch])
        seconds = time.monotonic() - started
        if batch and (pixels := company_of(batch[0].key).pixels) == (self.speed.pixels or pixels):
            self.speed.max_rows = self._row_limit(batch[0].key)
        self._stepped_s = started + seconds if batch else None
        if batch and splits == self._networks.splits and not mixes:  # the line is that of the model's own network
            self.speed.stepped(seconds, rows, company_of(batch[0].key).pixels)
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

    def _seat_encoded(self) -> list[Failed | GivenBack]:
        ended = []
        while self._encoding and self._encoding[0][1].done():
            held, encoded = self._encoding.popleft()
            if self._is_here(held) and (end := self._seat(held, encoded)):
                ended.append(end)
        return ended

    def _is_here(self, held: Held) -> bool:
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
            check_device(error, job_ids)
            if len(job_ids) > 1:
                return [failure for job_id in job_ids for failure in self._step([job_id])]
            return [self._fail(self._held[job_ids[0]], ErrorKind.worker_failed, _told(error))]
        detail = "The network's output was not finite."
        return [self._fail(self._held[job_id], ErrorKind.not_finite, detail) for job_id in overflowed]

    def _fail(self, held: Held, kind: ErrorKind, detail: str) -> Failed:
        if self.drop(held.claim.job.id) is None:
            raise RuntimeError(f"job {held.claim.job.id} failed without being held: this is a bug")
        return Failed(held.claim, kind, detail)

    def _finish_stepping(self, job_ids: Sequence[str]) -> list[Failed]:
        """Send the latents of finished requests to be decoded, and free their slots."""
        slices = (job_ids[start : start + SLICE] for start in range(0, len(job_ids), SLICE))
        return [failure for part in slices for failure in self._finish_slice(part)]

    def _finish_slice(self, job_ids: Sequence[str]) -> list[Failed]:
        try:
            latents = self._runner.results(job_ids)
        except Exception as error:  # noqa: BLE001 -- as in _step
            check_device(error, job_ids)
            if len(job_ids) > 1:
                return [failure for job_id in job_ids for failure in self._finish_slice([job_id])]
            return [self._fail(self._held[job_ids[0]], ErrorKind.worker_failed, _told(error))]
        for job_id in job_ids:
            self._runner.release(job_id)
        decoded = self._decode_lane.submit(partial(decode, self._family, latents))
        self._decoding.append(([self._held[job_id] for job_id in job_ids], decoded))
        return []

    def _collect(self) -> list[Drawn | Failed]:
        """What the decoder has done, in the order in which it was asked."""
        ended: list[Drawn | Failed] = []
        while self._decoding and self._decoding[0][1].done():
            slice_, future = self._decoding.popleft()
            decoded = self._result(slice_, future)
            self.speed.decoded(decoded.seconds, slice_[0].claim.job.pixels)
            ended += [
                self._end(held, picture, decoded)
                for held, picture in zip(slice_, decoded.pictures, strict=True)
                if self._is_here(held)
            ]
        return ended

    def _result(self, slice_: Sequence[Held], future: Future[Decoded]) -> Decoded:
        try:
            return future.result()
        except Exception as error:
            check_device(error, [held.claim.job.id for held in slice_])
            raise

    def _end(self, held: Held, picture: NDArray[np.uint8] | Exception | None, decoded: Decoded) -> Drawn | Failed:
        if picture is None:
            return self._fail(held, ErrorKind.not_finite, "The last sample was not finite.")
        if isinstance(picture, Exception):
            return self._fail(held, ErrorKind.worker_failed, _told(picture))
        del self._held[held.claim.job.id]
        denoise_s = decoded.started_s - held.stepping_s
        return Drawn(held.claim, picture, held.encode_s, denoise_s, decoded.seconds)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
