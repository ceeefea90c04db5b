"""Boxes as a network can read them: one channel per class, or a single heat map."""

from __future__ import annotations

import numpy as np

from semiseg_lib.datasets.sample import Boxes


def class_maps(boxes: Boxes, num_classes: int, size: tuple[int, int]) -> np.ndarray:
    """The box tensor of Self-Correcting Networks: which classes' boxes cover a pixel.

    Channel c > 0 is 1 inside every box of class c; channel 0 is 1 outside all boxes. Class 0 has no
    boxes of its own: it is the background or, in Cityscapes, the road. Boxes of different classes
    may overlap, so a pixel can be 1 in several channels.

    Args:
        boxes: N boxes, half-open pixel coordinates. A pixel belongs to a box when its centre does.
        num_classes: C, background included.
        size: (H, W) of the image.

    Returns:
        uint8 (C, H, W) of zeros and ones.
    """
    maps = np.zeros((num_classes, *size), dtype=np.uint8)
    for (x0, y0, x1, y1), label in zip(boxes.coordinates, boxes.classes, strict=True):
        maps[label, _pixels(y0, y1, size[0]), _pixels(x0, x1, size[1])] = 1
    maps[0] = ~maps[1:].any(axis=0)
    return maps


def heat_map(boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
    """The single class-agnostic channel of a public re-implementation: 1 inside any box.

    It tells where objects are but not which, and helps the ancillary far less than
    :func:`class_maps`; the book keeps it as a counter-example.

    Returns:
        uint8 (1, H, W) of zeros and ones.
    """
    maps = np.zeros((1, *size), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes.coordinates:
        maps[0, _pixels(y0, y1, size[0]), _pixels(x0, x1, size[1])] = 1
    return maps


def _pixels(low: float, high: float, size: int) -> slice:
    """The pixels whose centres lie in [low, high); a box thinner than a pixel keeps one."""
    first = min(max(int(np.ceil(low - 0.5)), 0), size - 1)
    last = max(int(np.ceil(high - 0.5)), first + 1)
    return slice(first, last)
