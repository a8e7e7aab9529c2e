"""What others add to a request's time: turns that are longer for company, and turns that it must wait for."""

from __future__ import annotations

from dataclasses import dataclass

from pacer.control.picture_size import ALIKE, Weight
from pacer.control.work import Work
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
        work: what each of them has left, by when it is due; None where only its sums are known.
    """

    speed: WorkerSpeed
    workers: int
    ahead: float
    held: float
    images: int
    overtakes: bool = False
    work: Work | None = None

    def added_s(self, turns: int, rows: int, images: int = 1, weight: Weight = ALIKE) -> float:
        """Seconds that an image takes beyond those that it would take alone, as expected.

        It joins a batch after half of a turn. Where a call has room for all, and all are of the default size, it shares
        its turns with each of the others as long as that has turns left. Else it shares them with as many as there is
        room for, as long as they have turns left in the mean; of what goes before it and is not drawn in those turns,
        it waits for the end; where it may overtake, only for those that find no room in its own turns. Who comes later
        is not known. The last of several images has the others of its request for company. All count as of its own
        size.

        Args:
            turns: network calls of the image.
            rows: forwards in them together.
            images: of its request.
            weight: what its forwards count.
        """
        if not self.held + (images - 1) * rows:
            return 0.0
        each = weight.of(rows) / turns
        others = (self.images + images - 1) / self.workers
        room = max(0.0, self.speed.rows * weight.forward - each)
        alike = weight == ALIKE and not self.speed.sizes
        if self.work is not None and alike and others * each <= room:
            return self._begin_s(others * each) + self._beside_s(self.work, each * turns, images - 1)
        return self._crowded_s(turns, each, others, room, siblings=(images - 1) * weight.of(rows))

    def _crowded_s(self, turns: int, each: float, others: float, room: float, *, siblings: float) -> float:
        """The same where not all find room, or not all are known to be of one size.

        Args:
            turns: network calls of the image.
            each: forwards of it in one of them.
            others: images there for each worker, those of its request among them.
            room: forwards that a call has room for beside it.
            siblings: forwards of the others of its request.
        """
        speed, held, ahead = self.speed, self.held + siblings, self.ahead + siblings
        left = held / self.workers / (others * each)
        beside, shared = min(room, others * each), min(float(turns), left)
        waiting = max(0.0, ahead / self.workers - beside * shared)
        if self.overtakes and others <= speed.rows:
            waiting = min(waiting, (others * each - beside) * shared)
        waiting_s = waiting * (speed.turn_seconds / speed.rows + speed.row_seconds)
        drawn_s = others * shared / left * (speed.encode_seconds + speed.decode_seconds)
        return self._begin_s(beside) + shared * beside * speed.row_seconds + waiting_s + drawn_s

    def _begin_s(self, beside: float) -> float:
        """Seconds until the turn is over that is under way; 0 if nobody is there.

        Args:
            beside: forwards in it.
        """
        return (self.speed.turn_seconds + beside * self.speed.row_seconds) / 2 if self.held else 0.0

    def _beside_s(self, work: Work, own: float, siblings: int) -> float:
        """Seconds that others take in an image's turns, when all of them find room there, with prompts and pictures.

        Args:
            work: what the others have left.
            own: forwards of the image.
            siblings: images of its request beside it, each of as many.
        """
        forwards, drawn = siblings * own, float(siblings)
        for left, images in work.lefts():
            shared = min(left, own)
            forwards += images * shared
            drawn += images * shared / left
        speed = self.speed
        each_s = speed.encode_seconds + speed.decode_seconds
        return (forwards * speed.row_seconds + drawn * each_s) / self.workers

    def turn_s(self, each: int) -> float:
        """Seconds of the turn that may be under way; 0 if nobody is there.

        Args:
            each: forwards of one image in it.
        """
        if not self.held:
            return 0.0
        rows = min(self.speed.rows, self.images * each / self.workers)
        return self.speed.turn_seconds + rows * self.speed.row_seconds
