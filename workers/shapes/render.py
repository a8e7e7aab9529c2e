"""Ground-truth pictures: a prompt becomes a layout, a layout becomes 64x64 pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.shapes.language import BACKGROUNDS, COLOURS, Prompt, Shape, Thing

SIZE = 64
"""Width and height of a picture in pixels."""

_MARGIN = 2.0  # pixels kept free at the border
_GAP = 4.0  # pixels kept free between two shapes
_RADII = {1: (12.0, 20.0), 2: (9.0, 13.0), 3: (7.5, 10.5)}  # by number of things, pixels
_STAR_INNER = 0.45  # inner radius of the star as a share of its outer one
_RING = {2: (14.0, 17.0), 3: (15.5, 18.0)}  # radius of the ring that counted things stand on, by number, pixels
_RING_TURNS = {2: (0.0, math.pi / 2), 3: (math.pi / 6, -math.pi / 6)}  # angle of the first thing, radians
_RING_JITTER = 1.0  # pixels, of each centre
_TURN_JITTER = math.radians(10)
_EXTENT = {"circle": 1.0, "square": 0.89, "triangle": 1.12, "star": 1.12}  # so that areas look alike


@dataclass(frozen=True, slots=True)
class Placed:
    """A thing at its place: centre (x to the right, y down) and nominal radius in pixels."""

    thing: Thing
    x: float
    y: float
    radius: float


def layout(prompt: Prompt, rng: np.random.Generator) -> tuple[Placed, ...]:
    """Draw places and sizes that make the prompt true and keep shapes apart."""
    count = len(prompt.things)
    while True:
        radii = rng.uniform(*_RADII[count], size=count)
        centres = _ring(count, rng) if prompt.kind == "count" else [_free_centre(radius, rng) for radius in radii]
        placed = tuple(
            Placed(thing, x, y, radius) for thing, (x, y), radius in zip(prompt.things, centres, radii, strict=True)
        )
        if _apart(placed) and _related(prompt, placed):
            return placed


def _free_centre(radius: float, rng: np.random.Generator) -> tuple[float, float]:
    reach = radius * max(_EXTENT.values()) + _MARGIN
    x, y = rng.uniform(reach, SIZE - reach, size=2)
    return float(x), float(y)


def _ring(count: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Counted things form a group: two side by side or stacked, three as a triangle, apex up or down."""
    ring = rng.uniform(*_RING[count])
    turn = rng.choice(_RING_TURNS[count]) + rng.uniform(-_TURN_JITTER, _TURN_JITTER)
    angles = turn + 2 * math.pi / count * np.arange(count)
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1) * ring + SIZE / 2
    jittered = centres + rng.uniform(-_RING_JITTER, _RING_JITTER, size=centres.shape)
    return [(float(x), float(y)) for x, y in jittered]


def _apart(placed: tuple[Placed, ...]) -> bool:
    return all(
        math.hypot(a.x - b.x, a.y - b.y) >= 1.12 * (a.radius + b.radius) + _GAP
        for i, a in enumerate(placed)
        for b in placed[:i]
    )


def _related(prompt: Prompt, placed: tuple[Placed, ...]) -> bool:
    """The asked relation holds along its axis, and plainly: the other axis differs by at most half."""
    if prompt.relation is None:
        return True
    dx, dy = placed[0].x - placed[1].x, placed[0].y - placed[1].y
    along, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[prompt.relation]
    return along > 0 and abs(across) <= 0.5 * along


def render(placed: tuple[Placed, ...], background: str) -> NDArray[np.uint8]:
    """Paint a layout with anti-aliased edges.

    Returns:
        Pixels, shape (64, 64, 3), uint8 sRGB.
    """
    image = np.empty((SIZE, SIZE, 3))
    image[:] = BACKGROUNDS[background]
    axis: NDArray[np.float64] = np.arange(SIZE, dtype=np.float64) + 0.5
    for item in placed:
        distance = signed_distance(item.thing.shape, axis[None, :] - item.x, axis[:, None] - item.y, item.radius)
        coverage = np.clip(0.5 - distance, 0.0, 1.0)[..., None]
        image += coverage * (np.array(COLOURS[item.thing.colour]) - image)
    return np.rint(image).astype(np.uint8)


def draw(prompt: Prompt, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One random picture of a prompt, shape (64, 64, 3), uint8 sRGB."""
    return render(layout(prompt, rng), prompt.background)


def signed_distance(
    shape: Shape, dx: NDArray[np.float64], dy: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Signed distance to a shape's outline in pixels, negative inside (a lower bound of it outside corners).

    Args:
        shape: which outline.
        dx: offset to the right of the shape's centre in pixels; broadcast against dy.
        dy: offset downwards from the shape's centre in pixels.
        radius: nominal radius in pixels.
    """
    reach = radius * _EXTENT[shape]
    if shape == "circle":
        return np.hypot(dx, dy) - reach
    if shape == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) - reach
    if shape == "triangle":  # circumradius `reach`, apex up, so the sides lie reach / 2 from the centre
        side = np.abs(dx) * math.cos(math.pi / 6) - dy * 0.5
        return np.maximum(side, np.broadcast_to(dy, side.shape)) - reach / 2
    return _star_distance(dx, dy, reach)


def _star_distance(dx: NDArray[np.float64], dy: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """A five-pointed star, one point up: fold the angle into a tenth of the turn, then one edge remains."""
    angle = np.arctan2(dx, -dy)
    folded = np.abs((angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    length = np.hypot(dx, dy)
    px, py = length * np.cos(folded), length * np.sin(folded)
    inner = reach * _STAR_INNER
    ex, ey = inner * math.cos(math.pi / 5) - reach, inner * math.sin(math.pi / 5)
    return (-(px - reach) * ey + py * ex) / -math.hypot(ex, ey)
