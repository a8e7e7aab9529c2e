"""What others add to a request's time: turns that are longer for company, and turns that it must wait for."""

from __future__ import annotations

from dataclasses import dataclass

from pacer.control.picture_size import ALIKE, Weight
from pacer.jobs.messages import WorkerSpeed


@dataclass(frozen=True, slots=True)
class Company:
    """Who is there when a request comes in.

    Attributes:
        speed: what a worker measured, at the default size, of which all forwards here are.
        workers: how many there are.
        ahead: forwards that go before the request's.
        held: forwards still to be made, all together.
        images: how many they are of.
        overtakes: whether it may go before longer ones in a worker, as what has no deadline does.
    """

    speed: WorkerSpeed
    workers: int
    ahead: float
    held: float
    images: int
    overtakes: bool = False

    def added_s(self, turns: int, rows: int, images: int = 1, weight: Weight = ALIKE) -> float:
        """Seconds that an image takes beyond those that it would take alone, as expected.

        It joins a batch after half of a turn. As long as the others have turns left, which is their mean, it shares its
        own with as many of them as a call has room for; of what goes before it and is not drawn in those turns, it
        waits for the end; where it may overtake, only for those that find no room in its own turns. Who comes later is
        not known. The last of several images has the others of its request for company. All count as of its own
        size.

        Args:
            turns: network calls of the image.
            rows: forwards in them together.
            images: of its request.
            weight: what its forwards count.
        """
        siblings = (images - 1) * weight.of(rows)
        held, ahead = self.held + siblings, self.ahead + siblings
        if not held:
            return 0.0
        speed, each = self.speed, weight.of(rows) / turns
        others = (self.images + images - 1) / self.workers
        left = held / self.workers / (others * each)
        beside, shared = min(max(0.0, speed.rows * weight.forward - each), others * each), min(float(turns), left)
        full_s = speed.turn_seconds + speed.rows * speed.row_seconds
        begin_s = (speed.turn_seconds + beside * speed.row_seconds) / 2 if self.held else 0.0
        waiting = max(0.0, ahead / self.workers - beside * shared)
        if self.overtakes and others <= speed.rows:
            waiting = min(waiting, (others * each - beside) * shared)
        drawn_s = others * shared / left * (speed.encode_seconds + speed.decode_seconds)
        return begin_s + shared * beside * speed.row_seconds + waiting * full_s / speed.rows + drawn_s

    def turn_s(self, each: int) -> float:
        """Seconds of the turn that may be under way; 0 if nobody is there.

        Args:
            each: forwards of one image in it.
        """
        if not self.held:
            return 0.0
        rows = min(self.speed.rows, self.images * each / self.workers)
        return self.speed.turn_seconds + rows * self.speed.row_seconds
