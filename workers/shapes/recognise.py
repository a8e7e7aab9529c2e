"""The recogniser: reads a picture back into things and their places, by arithmetic on its pixels alone.

Background by the border's colour, things as connected regions that differ from it, colour by the nearest name at the
region's core, shape by the best overlap with an ideal outline of the same area and centroid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.shapes.language import BACKGROUNDS, COLOURS, SHAPES, Shape
from workers.shapes.render import signed_distance

_FOREGROUND_DISTANCE = 45.0  # sRGB units from the background, about a third of the nearest colour's distance
_LEAST_AREA = 25  # pixels; smaller regions are specks
_LEAST_OVERLAP = 0.72  # intersection over union below which a region is no known shape
_FAR_FROM_ANY_COLOUR = 75.0  # sRGB units beyond which a region has no known colour


@dataclass(frozen=True, slots=True)
class Seen:
    """One region of a picture.

    Attributes:
        colour: its name, None where no colour is near.
        shape: its outline, None where none fits.
        x, y: its centre in pixels, y down.
        overlap: how well the outline fits, intersection over union in 0..1.
    """

    colour: str | None
    shape: Shape | None
    x: float
    y: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the recogniser sees in a picture."""

    background: str | None
    things: tuple[Seen, ...]


def read(pixels: NDArray[np.uint8]) -> Reading:
    """Read a picture.

    Args:
        pixels: shape (64, 64, 3), uint8 sRGB.
    """
    image = pixels.astype(np.float64)
    edge = _border_colour(image)
    mask = np.linalg.norm(image - edge, axis=-1) > _FOREGROUND_DISTANCE
    labels, count = ndimage.label(mask)
    regions = [labels == index for index in range(1, count + 1)]
    things = [_see(image, region, edge) for region in regions if region.sum() >= _LEAST_AREA]
    return Reading(_nearest(edge, BACKGROUNDS), tuple(things))


def _border_colour(image: NDArray[np.float64]) -> NDArray[np.float64]:
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return np.asarray(np.median(border, axis=0))


def _nearest(colour: NDArray[np.float64], names: dict[str, tuple[int, int, int]]) -> str | None:
    distances = {name: float(np.linalg.norm(colour - np.array(value))) for name, value in names.items()}
    best = min(distances, key=distances.__getitem__)
    return best if distances[best] <= _FAR_FROM_ANY_COLOUR else None


def _see(image: NDArray[np.float64], region: NDArray[np.bool_], edge: NDArray[np.float64]) -> Seen:
    core = ndimage.binary_erosion(region, iterations=2)
    colour = np.median(image[core if core.any() else region], axis=0)
    coverage = _coverage(image, region, edge, colour)
    fits = {shape: _fit(shape, coverage) for shape in SHAPES}
    best = max(fits, key=lambda shape: fits[shape][2])
    x, y, overlap = fits[best]
    return Seen(_nearest(colour, COLOURS), best if overlap >= _LEAST_OVERLAP else None, x, y, overlap)


def _coverage(
    image: NDArray[np.float64], region: NDArray[np.bool_], edge: NDArray[np.float64], colour: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much of each pixel the thing covers, 0..1, from the blend of its colour with the background's."""
    axis = colour - edge
    share = np.clip((image - edge) @ axis / (axis @ axis), 0.0, 1.0)
    return np.where(ndimage.binary_dilation(region, iterations=2), share, 0.0)


def _fit(shape: Shape, coverage: NDArray[np.float64]) -> tuple[float, float, float]:
    """Place an ideal outline by area and centroid; returns its centre x, y and the overlap."""
    area, mean_x, mean_y = _moments(coverage)
    unit_area, _, unit_y = _UNIT_MOMENTS[shape]
    radius = float(np.sqrt(area / unit_area))
    x, y = mean_x, mean_y - unit_y * radius
    rows, columns = (np.arange(length, dtype=np.float64) + 0.5 for length in coverage.shape)
    ideal = np.clip(0.5 - signed_distance(shape, columns[None, :] - x, rows[:, None] - y, radius), 0.0, 1.0)
    return x, y, float(np.minimum(ideal, coverage).sum() / np.maximum(ideal, coverage).sum())


def _moments(coverage: NDArray[np.float64], pixel: float = 1.0) -> tuple[float, float, float]:
    """Area and centroid x, y of a coverage whose corner is the origin."""
    total = coverage.sum()
    x = coverage.sum(axis=0) @ (np.arange(coverage.shape[1]) + 0.5) / total
    y = coverage.sum(axis=1) @ (np.arange(coverage.shape[0]) + 0.5) / total
    return float(total) * pixel**2, float(x) * pixel, float(y) * pixel


def _unit_moments(shape: Shape) -> tuple[float, float, float]:
    """Area and centroid, relative to the nominal centre, of the outline with radius 1."""
    pixel = 1 / 400
    axis = (np.arange(1200, dtype=np.float64) + 0.5) * pixel - 1.5
    inside = signed_distance(shape, axis[None, :], axis[:, None], 1.0) <= 0
    area, x, y = _moments(inside.astype(np.float64), pixel)
    return area, x - 1.5, y - 1.5


_UNIT_MOMENTS = {shape: _unit_moments(shape) for shape in SHAPES}
