"""Outlines of polygons and their exact rasterisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Vertices are multiples of 1/16 pixel, so that filling needs integers only; sines and cosines are
# rounded to 1/4096, because the last bit of math.sin is not portable.
GRID = 16
TURN_GRID = 4096

Outline = np.ndarray  # float64 (N, 2): x to the right, y downwards


def cosine_sine(degrees: float) -> tuple[float, float]:
    """Return the cosine and sine of an angle, rounded to multiples of 1/4096."""
    radians = math.radians(degrees)
    return (
        round(math.cos(radians) * TURN_GRID) / TURN_GRID,
        round(math.sin(radians) * TURN_GRID) / TURN_GRID,
    )


_CIRCLE = {
    count: np.array([cosine_sine(360.0 * step / count) for step in range(count)])
    for count in (8, 10, 12, 14, 16, 20, 24)
}


def polygon(*points: tuple[float, float]) -> Outline:
    """Return the outline through the given corners."""
    return np.array(points, dtype=np.float64)


def rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    """Return an upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(x: float, y: float, radius_x: float, radius_y: float, corners: int = 16) -> Outline:
    """Return an ellipse around (x, y) as a polygon with the given number of corners."""
    return _CIRCLE[corners] * (radius_x, radius_y) + (x, y)


def star(x: float, y: float, radius: float, points: int, depth: float) -> Outline:
    """Return a star with 4, 5, 6 or 7 points whose inner corners lie at depth * radius."""
    outline = _CIRCLE[2 * points][:, ::-1] * (radius, -radius)
    outline[1::2] *= depth
    return outline + (x, y)


# Catmull-Rom weights of four neighbouring points at four steps between the middle two.
_STEPS = np.array([0.0, 0.25, 0.5, 0.75])[:, None]
_SPLINE = np.concatenate(
    [
        -0.5 * _STEPS + _STEPS * _STEPS - 0.5 * _STEPS * _STEPS * _STEPS,
        1.0 - 2.5 * _STEPS * _STEPS + 1.5 * _STEPS * _STEPS * _STEPS,
        0.5 * _STEPS + 2.0 * _STEPS * _STEPS - 1.5 * _STEPS * _STEPS * _STEPS,
        -0.5 * _STEPS * _STEPS + 0.5 * _STEPS * _STEPS * _STEPS,
    ],
    axis=1,
)


def smooth(*points: tuple[float, float]) -> Outline:
    """Return a closed smooth curve through the given points (a Catmull-Rom spline)."""
    knots = np.array(points, dtype=np.float64)
    ring = np.concatenate([knots[-1:], knots, knots[:2]])[:, None, :]
    curve = np.zeros((len(knots), 4, 2))
    for column in range(4):  # summed one by one: a matrix product may round differently
        curve = curve + _SPLINE[:, column, None] * ring[column : column + len(knots)]
    return curve.reshape(-1, 2)


def fill(outlines: Sequence[np.ndarray], side: int) -> tuple[slice, slice, np.ndarray]:
    """Fill several polygons at once by the even-odd rule.

    Args:
        outlines: int64 arrays (N, 2) in units of 1/16 pixel.
        side: width and height of the image in pixels.

    Returns:
        Rows and columns of their common bounding box, clipped to the image, with at least one row
        and one column; bool (rows, len(outlines), columns), True where the centre of a pixel is
        inside.
    """
    start = np.concatenate(outlines)
    corners = np.array([len(outline) for outline in outlines])
    following = np.arange(1, len(start) + 1)
    following[np.cumsum(corners) - 1] -= corners  # the last corner connects to the first
    end = start[following]
    part = np.repeat(np.arange(len(outlines)), corners)
    left, top = (min(max(int(edge) // GRID, 0), side - 1) for edge in start.min(axis=0))
    right, bottom = (int(edge) // GRID + 1 for edge in start.max(axis=0))
    right, bottom = min(max(right, left + 1), side), min(max(bottom, top + 1), side)
    height, width = bottom - top, right - left

    centre = np.arange(left, right) * GRID + GRID // 2
    first, last = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    edge, column = np.nonzero((first[:, None] <= centre) & (centre < last[:, None]))
    run = end[edge] - start[edge]
    sign = np.sign(run[:, 0])
    length = run[:, 0] * sign
    # First pixel row whose centre is not above the edge: a ceiling division, without rounding.
    crossing = (start[edge, 1] - GRID // 2) * length
    crossing += (centre[column] - start[edge, 0]) * run[:, 1] * sign
    row = np.minimum(np.maximum(-(-crossing // (GRID * length)) - top, 0), height)

    toggles = np.zeros((height + 1) * len(outlines) * width, dtype=np.uint8)
    np.add.at(toggles, (row * len(outlines) + part[edge]) * width + column, np.uint8(1))
    inside = toggles.reshape(height + 1, len(outlines), width)[:height] & 1
    step = 1
    while step < height:  # running parity of the edges above, in a few whole-array steps
        inside[step:] ^= inside[:-step]
        step *= 2
    return slice(top, bottom), slice(left, right), inside.view(bool)
