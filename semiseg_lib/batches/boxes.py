"""Bounding boxes as input channels of a network, and as constraints on the class of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from semiseg_lib.datasets.sample import Boxes


def class_maps(boxes: Boxes, num_classes: int, size: tuple[int, int]) -> np.ndarray:
    """Return the box tensor of Self-Correcting Networks: one binary channel per class.

    Channel c > 0 is 1 inside every box of class c; channel 0 is 1 outside all boxes. Class 0 has no
    boxes: it is the background or, in Cityscapes, the road. Boxes of different classes
    may overlap, so a pixel can be 1 in several channels.

    Args:
        boxes: N boxes, half-open pixel coordinates. A pixel is in a box if its centre is.
        num_classes: C, background included.
        size: (H, W) of the image.

    Returns:
        uint8 (C, H, W) of zeros and ones.
    """
    maps = np.zeros((num_classes, *size), dtype=np.uint8)
    for (x0, y0, x1, y1), label in zip(boxes.coordinates, boxes.classes, strict=True):
        maps[label, covered_pixels(y0, y1, size[0]), covered_pixels(x0, x1, size[1])] = 1
    maps[0] = ~maps[1:].any(axis=0)
    return maps


def heat_map(boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
    """Return the single class-agnostic channel of a public re-implementation: 1 inside any box.

    It encodes where objects are but not their class, and helps the ancillary far less than
    :func:`class_maps`; the book keeps it as a counter-example.

    Args:
        boxes: those of an image.
        size: (H, W) in pixels.

    Returns:
        uint8 (1, H, W) of zeros and ones.
    """
    maps = np.zeros((1, *size), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes.coordinates:
        maps[0, covered_pixels(y0, y1, size[0]), covered_pixels(x0, x1, size[1])] = 1
    return maps


def covered_pixels(low: float, high: float, size: int) -> slice:
    """Return the slice of pixels whose centres lie in [low, high); it has at least one pixel.

    Args:
        low, high: edges in pixels.
        size: pixels along this side.
    """
    first = min(max(int(np.ceil(low - 0.5)), 0), size - 1)
    last = max(int(np.ceil(high - 0.5)), first + 1)
    return slice(first, last)


@dataclass(frozen=True)
class Allowed:
    """The classes that an incomplete label allows in each pixel of an image.

    A class is allowed in a pixel if it is allowed everywhere, or if one of its boxes covers the
    pixel. Loose boxes weaken the constraint; a missing box makes it wrong.

    Attributes:
        everywhere: bool (C,), classes that are allowed in every pixel.
        boxes: the boxes of the other classes.
    """

    everywhere: np.ndarray
    boxes: Boxes


def allowed_by_boxes(
    boxes: Boxes | None, boxed: np.ndarray, unboxed: Literal["unknown", "empty"] = "unknown"
) -> Allowed:
    """Return the classes that the boxes of an image allow.

    Args:
        boxes: boxes of the image; None if it was not annotated.
        boxed: bool (C,), which classes have a box around each of their objects. The others, such as
            the background, are allowed everywhere, and so are those of crowds.
        unboxed: meaning of an image that was not annotated: ``unknown`` allows every class,
            ``empty`` only those without boxes.
    """
    if boxes is None:
        everywhere = np.ones_like(boxed) if unboxed == "unknown" else ~boxed
        return Allowed(everywhere, Boxes())
    everywhere = ~boxed
    everywhere[list(boxes.crowds)] = True
    return Allowed(everywhere, boxes)
