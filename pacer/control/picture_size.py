"""What pictures of another size than the model's default take: turns of more pixels, and more pixels to decode.

Workers measure what a row of a size adds to a turn once they have drawn it; until then it goes by the pixels. All sums
of work, in the store and in promises, are in forwards of the default size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from pacer.jobs.messages import WorkerSpeed


class Weight(NamedTuple):
    """What forwards of a size count, in forwards of the default size.

    Attributes:
        forward: that take as long, in full turns, as one of the size.
        picture: that take as long as the picture is decoded beyond one of the default size; 0 for smaller ones.
    """

    forward: float = 1.0
    picture: float = 0.0

    def of(self, forwards: int) -> float:
        """What an image of so many forwards counts."""
        return forwards * self.forward + self.picture


ALIKE = Weight()
"""Of the default size."""


def row_seconds(pixels: int, default: tuple[float, float], measured: Mapping[int, float]) -> float:
    """What a row of a size adds to a turn, seconds.

    Args:
        pixels: of the picture, width x height.
        default: pixels of the default size, and seconds that a row of it adds.
        measured: by pixels, of sizes that were drawn.
    """
    default_pixels, row_s = default
    return measured.get(pixels, row_s * pixels / default_pixels)


def at_size(speed: WorkerSpeed, pixels: int) -> WorkerSpeed:
    """The same of pictures of a size; as it is where it is of that size already, or nobody knows of which it is.

    Args:
        speed: of workers.
        pixels: of the picture, width x height; 0 where nobody said them.
    """
    if not speed.pixels or pixels in (0, speed.pixels):
        return speed
    return replace(
        speed,
        row_seconds=row_seconds(pixels, (speed.pixels, speed.row_seconds), speed.sizes),
        decode_seconds=speed.decode_seconds * pixels / speed.pixels,
        pixels=float(pixels),
        sizes={},
    )


def weight_of(own: WorkerSpeed, default: WorkerSpeed) -> Weight:
    """What forwards count, from the speed at their size and at the default size."""
    if own is default:
        return ALIKE
    call_s = default.turn_seconds / default.rows
    forward_s = max(call_s + default.row_seconds, 1e-9)
    more_s = max(0.0, own.decode_seconds - default.decode_seconds)
    return Weight((call_s + own.row_seconds) / forward_s, more_s / forward_s)


def sized_forwards(weight: Weight, forwards: int) -> int | None:
    """What a plan tells of an image's work, at least 1; None where its forwards say it all."""
    return None if weight is ALIKE or weight == ALIKE else max(1, round(weight.of(forwards)))
