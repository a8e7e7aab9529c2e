"""What one image may take and what it must reach: every bound of a budget, checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pacer.control.load import Load
from pacer.control.turns import TurnCost
from pacer.jobs.messages import WorkerSpeed
from schedules.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is known of the workers when a request comes in.

    Attributes:
        speed: what they measured.
        wait_s: seconds until one of them would begin with it.
        spare_s: seconds of their time that it may take without making others miss their deadlines.
        forwards_per_s: that they make together while their batches are full.
    """

    speed: WorkerSpeed
    wait_s: float = 0.0
    spare_s: float = math.inf
    forwards_per_s: float = math.inf

    @classmethod
    def of(cls, load: Load, due_s: float | None, owner: str | None = None) -> Forecast:
        """For an owner's request that is due in so many seconds; None has no deadline."""
        spare_s = math.inf if due_s is None else load.spare_s(due_s)
        return cls(load.speed, load.wait_s(due_s, owner), spare_s, load.forwards_per_s)

    def service_s(self, turns: int, rows: int) -> float:
        """Seconds from the first to the last of one image that waits for nobody.

        Args:
            turns: network calls, one for each row of the table.
            rows: forwards in them together.
        """
        denoise = TurnCost(self.speed.turn_seconds, self.speed.row_seconds).seconds(turns, rows)
        return self.speed.encode_seconds + denoise + self.speed.decode_seconds + self.speed.deliver_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a budget; None sets none.

    Attributes:
        steps: least and most.
        evaluations: most forwards of the network for one image.
        latency_s: most seconds from arrival to the image.
        psnr_db: least PSNR to the teacher that was shown, decibels: the low end of its interval.
        quality: least share of the teacher's quality that was shown, 0 to 1: the low end of its interval.
        forecast: what `latency_s` is reckoned with; without it, it bounds nothing.
        images: how many are asked for together.
    """

    steps: tuple[int, int]
    evaluations: int | None = None
    latency_s: float | None = None
    psnr_db: float | None = None
    quality: float | None = None
    forecast: Forecast | None = None
    images: int = 1

    def affords(self, steps: int, turns: int, evaluations: int) -> bool:
        """Whether a sampler of so many steps, table rows and forwards is within every upper bound, and long enough."""
        least, most = self.steps
        within = self.evaluations is None or evaluations <= self.evaluations
        return least <= steps <= most and within and self.in_time(turns, evaluations)

    def in_time(self, turns: int, evaluations: int) -> bool:
        """Whether a sampler of so many table rows and forwards can be done before the deadline."""
        known = self.forecast
        if self.latency_s is None or known is None:
            return True
        others_s = (self.images - 1) * evaluations / known.forwards_per_s
        fits = known.wait_s + known.service_s(turns, evaluations) + others_s <= self.latency_s
        return fits and self.images * evaluations / known.forwards_per_s <= known.spare_s

    @property
    def floored(self) -> bool:
        """Whether a least quality is set."""
        return self.psnr_db is not None or self.quality is not None

    def reached_by(self, evidence: Evidence | None) -> bool:
        """Whether what was measured reaches every floor."""
        if not self.floored:
            return True
        if evidence is None:
            return False
        shown = evidence.quality
        sharp = self.psnr_db is None or evidence.psnr_db.low >= self.psnr_db
        return sharp and (self.quality is None or (shown is not None and shown.low >= self.quality))
