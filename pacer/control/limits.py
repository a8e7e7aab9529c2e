"""What one image may take and what it must reach: every bound of a budget, checked in one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pacer.control.company import Company
from pacer.control.latency_spread import Times, times_of
from pacer.control.load import Load
from pacer.control.picture_size import ALIKE, Weight, at_size, weight_of
from pacer.control.promise import Demand, Promise
from pacer.control.step_cap import Traffic
from pacer.control.turns import TurnCost
from pacer.jobs.messages import WorkerSpeed
from schedules.evidence import KEPT_BY, Evidence


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is known of the workers when a request comes in.

    Attributes:
        speed: what they measured, at the request's size.
        company: who is there beside it; None where nothing is known of others.
        promise: what a request with a deadline may be promised, or one without may hope for; None where nothing is
            known of others.
        traffic: who comes, and who draws; None where nothing is known of others.
        weight: what its forwards count beside those of others.
    """

    speed: WorkerSpeed
    company: Company | None = None
    promise: Promise | None = None
    traffic: Traffic | None = None
    weight: Weight = ALIKE

    @classmethod
    def of(
        cls, load: Load, due_s: float | None, owner: str | None = None, *, each: int = 2, slack_s: float | None = None
    ) -> Forecast:
        """For a request.

        Args:
            load: what workers have before them.
            due_s: seconds until it is due; None has no deadline.
            owner: whose it is.
            each: forwards of one image in a turn: 2 with guidance.
            slack_s: seconds within which one without a deadline hopes for its images; None hopes for nothing.
        """
        company, promise = load.company(due_s, owner), None
        if due_s is not None:
            promise = load.promise(due_s, company, owner, each=each)
        elif slack_s is not None and company.held:
            before = Demand(slack_s, company.ahead, float(company.images), 0.0)
            promise = Promise(load.speed, load.workers, company.turn_s(each), before)
        return cls(load.speed, company, promise, load.traffic)

    def at(self, pixels: int) -> Forecast:
        """The same for a picture of so many pixels, width x height; 0 where nobody said them."""
        speed = at_size(self.speed, pixels)
        if speed is self.speed:
            return self
        traffic = None if self.traffic is None else replace(self.traffic, own=speed)
        return replace(self, speed=speed, traffic=traffic, weight=weight_of(speed, self.speed))

    def added_s(self, turns: int, rows: int, images: int) -> float:
        """Seconds that others, and the rest of its request's images, add to the last of these, as expected.

        Args:
            turns: network calls, one for each row of the table.
            rows: forwards in them together.
            images: of the request.
        """
        return 0.0 if self.company is None else self.company.added_s(turns, rows, images, self.weight)

    def cap(self, steps: tuple[int, int], each: int, latency_s: float) -> float:
        """The most forwards that the traffic leaves an image; inf where nothing is known of others.

        Args:
            steps: least and most of it.
            each: forwards of a step.
            latency_s: seconds until it is due.
        """
        if self.traffic is None or not self.traffic.inflow.images:
            return math.inf
        waits = self.company is not None and self.company.held > 0
        return each * self.traffic.most_steps(steps, each, latency_s if waits else math.inf)

    def service_s(self, turns: int, rows: int) -> float:
        """Seconds from the first to the last of one image that waits for nobody.

        Args:
            turns: network calls, one for each row of the table.
            rows: forwards in them together.
        """
        denoise = TurnCost(self.speed.turn_seconds, self.speed.row_seconds).seconds(turns, rows)
        return self.speed.encode_seconds + denoise + self.speed.decode_seconds + self.speed.deliver_seconds

    def times(self, turns: int, rows: int, images: int) -> Times:
        """What a plan tells of time; arguments as for `added_s`."""
        return times_of(self.speed, self.service_s(turns, rows), self.added_s(turns, rows, images))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a budget; None sets none.

    Attributes:
        steps: least and most.
        evaluations: most forwards of the network for one image.
        latency_s: most seconds from arrival to the image.
        psnr_db: least PSNR to the teacher, decibels, that `kept_by` of the pictures were shown to have.
        quality: least share of the teacher's quality that was shown, 0 to 1: of SSIM likewise, of a task score the low
            end of its mean's interval.
        kept_by: share of the pictures.
        forecast: what `latency_s` is reckoned with; without it, it bounds nothing.
        images: how many are asked for together.
        degrade_at: share of what may be promised from which on the most steps are not given, where fewer will do.
        cap: the most forwards that the traffic leaves an image; it keeps nobody from the least steps.
    """

    steps: tuple[int, int]
    evaluations: int | None = None
    latency_s: float | None = None
    psnr_db: float | None = None
    quality: float | None = None
    kept_by: float = KEPT_BY
    forecast: Forecast | None = None
    images: int = 1
    degrade_at: float = 1.0
    cap: float = math.inf

    def affords(self, steps: int, turns: int, evaluations: int, *, left: tuple[int, int] | None = None) -> bool:
        """Whether a sampler of so many steps, table rows and forwards is within every upper bound, and long enough.

        Args:
            steps: its budget.
            turns: rows of its table.
            evaluations: forwards of one image.
            left: rows and forwards that are still to be made, of one that is under way; all by default.
        """
        least, most = self.steps
        if not least <= steps <= most or (evaluations > self.cap and steps > least):
            return False
        within = self.evaluations is None or evaluations <= self.evaluations
        return within and self.in_time(*(left or (turns, evaluations)), spared=self._spared(steps))

    def in_time(self, turns: int, evaluations: int, *, spared: float = 0.0) -> bool:
        """Whether a sampler of so many table rows and forwards can be done before the deadline, as all promised ones.

        Args:
            turns: rows of its table.
            evaluations: forwards of one image.
            spared: share of the workers' time that must be left, if there are others.
        """
        known = self.forecast
        if self.latency_s is None or known is None:
            return True
        if known.service_s(turns, evaluations) > self.latency_s:
            return False
        forwards = known.weight.of(evaluations)
        return known.promise is None or known.promise.holds(turns, forwards, self.images, spared=spared)

    def yielding(self, each: int) -> Limits:
        """The same, capped by what is left to a request without a deadline; with the least steps at the worst.

        Args:
            each: forwards of a step.
        """
        if self.forecast is None or self.forecast.promise is None:
            return self
        promise, weight = self.forecast.promise, self.forecast.weight
        least, most = self.steps
        hoped = (
            steps
            for steps in range(most, least, -1)
            if promise.holds(steps, weight.of(each * steps), self.images, spared=self._spared(steps))
        )
        return replace(self, cap=each * next(hoped, least))

    def alone_s(self, turns: int, evaluations: int) -> float:
        """Seconds from arrival to the last of the images, were nobody else there; 0 where nobody measured.

        Args:
            turns: rows of the table.
            evaluations: forwards of one image.
        """
        known = self.forecast
        if known is None:
            return 0.0
        service_s = known.service_s(turns, evaluations)
        if self.latency_s is None or known.promise is None:
            return service_s
        late_s, _ = known.promise.alone.late_s(turns, known.weight.of(evaluations), self.images)
        return max(service_s, self.latency_s + late_s)

    def late_s(self, turns: int, evaluations: int) -> float:
        """Seconds that the deadline would be missed by, or another's that was promised; at most 0 if neither is."""
        known = self.forecast
        if self.latency_s is None or known is None:
            return -math.inf
        service_s = known.service_s(turns, evaluations)
        if service_s > self.latency_s or known.promise is None:
            return service_s - self.latency_s
        return max(known.promise.late_s(turns, known.weight.of(evaluations), self.images))

    def _spared(self, steps: int) -> float:
        """Share of what may be promised that so many steps leave to others: more, the more they are above the least."""
        least, most = self.steps
        return (1 - self.degrade_at) * math.log(steps / least) / math.log(most / least) if most > least else 0.0

    @property
    def floored(self) -> bool:
        """Whether a least quality is set."""
        return self.psnr_db is not None or self.quality is not None

    def failing(self, kept: Callable[[Limits], bool]) -> Limits:
        """The same with the one floor that is not kept by itself; with both where only both together are not.

        Args:
            kept: whether limits with one floor are kept to.
        """
        alone = (replace(self, quality=None), replace(self, psnr_db=None))
        return next((each for each in alone if each.floored and not kept(each)), self)

    def reached_by(self, evidence: Evidence | None) -> bool:
        """Whether what was measured reaches every floor."""
        if evidence is None:
            return not self.floored
        psnr_db = None if self.psnr_db is None else evidence.psnr_db_of(self.kept_by)
        return self.reached(psnr_db, None if self.quality is None else evidence.quality_of(self.kept_by))

    def reached(self, psnr_db: float | None, quality: float | None) -> bool:
        """The same of figures; None where nobody measured one."""
        return _at_least(psnr_db, self.psnr_db) and _at_least(quality, self.quality)


def _at_least(shown: float | None, floor: float | None) -> bool:
    return floor is None or (shown is not None and shown >= floor)
