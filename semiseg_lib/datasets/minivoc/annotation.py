"""The simulated annotator: boxes that are tight, loose, jittered, or missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .worlds import BoxStyle

if TYPE_CHECKING:
    from .scenes import Scene

Box = tuple[int, tuple[float, float, float, float]]  # class id, (x0, y0, x1, y1), half-open

STEP = 16  # box sides are multiples of 1/16 pixel: the last bit of a Gaussian is not portable


def annotate(scene: Scene, style: BoxStyle, rng: np.random.Generator, side: int) -> list[Box]:
    """Return the boxes that an annotator of this style draws for an image.

    Every box is inside the image, [0, side] x [0, side], and at least one pixel wide and high. The
    number of random draws per object does not depend on the style, so that two styles with equal
    generators differ in nothing else.

    Args:
        scene: the image and its objects.
        style: how loosely, with how many misses.
        rng: draws all errors.
        side: width and height of the image in pixels.
    """
    boxes: list[Box] = []
    for class_id, tight in scene.boxes:
        skipped = rng.random() < style.missed
        outwards, shake = rng.random(4), rng.standard_normal(4)
        if skipped:
            continue
        if style == BoxStyle(missed=style.missed):
            boxes.append((class_id, tight))
        else:
            boxes.append((class_id, _redraw(tight, style, outwards, shake, side)))
    return boxes


def _redraw(
    tight: tuple[float, float, float, float], style: BoxStyle, outwards: np.ndarray,
    shake: np.ndarray, side: int,
) -> tuple[float, float, float, float]:
    """Return a loosened, jittered and shifted copy of a tight box.

    A shift takes the random numbers of the jitter of the first two sides, so that the number of
    draws stays: a style with both moves these sides in the direction of the shift.
    """
    x0, y0, x1, y1 = tight
    low, high = style.loose
    moved = []
    for position, (corner, length, direction) in enumerate(
        ((x0, x1 - x0, -1), (y0, y1 - y0, -1), (x1, x1 - x0, 1), (y1, y1 - y0, 1))
    ):
        share = low + (high - low) * float(outwards[position])
        offset = direction * share + style.jitter * float(shake[position])
        offset += style.shifted * float(shake[position % 2])
        moved.append(round((corner + length * offset) * STEP) / STEP)
    left, right = _interval(moved[0], moved[2], side)
    top, bottom = _interval(moved[1], moved[3], side)
    return left, top, right, bottom


def _interval(first: float, second: float, side: int) -> tuple[float, float]:
    """Return the two ends in order, in the image and at least one pixel apart."""
    low = min(max(min(first, second), 0.0), side - 1.0)
    high = max(min(max(first, second), float(side)), low + 1.0)
    return low, high
