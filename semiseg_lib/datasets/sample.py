"""The common type of the images of every dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """The bounding boxes of the objects of one image.

    Attributes:
        coordinates: float32 (N, 4), x0 y0 x1 y1 in pixels; half-open, so x1 - x0 is the width.
        classes: int64 (N,), class ids; 0 (background) never occurs.
        crowds: ids of classes with further objects in the image that have no box of their own.

    Raises:
        ValueError: a box of class 0.
    """

    coordinates: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    classes: np.ndarray = field(default_factory=lambda: np.zeros((0,), np.int64))
    crowds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.classes == 0).any():
            raise ValueError("a box of class 0, whose channel means 'outside every box'.")

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Sample:
    """One image and its labels, if any.

    Attributes:
        name: its name in the dataset's lists.
        image: uint8 (3, H, W).
        mask: uint8 (H, W) class ids, 255 = void; None if not annotated.
        boxes: the annotated boxes; None if not annotated.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None = None
    boxes: Boxes | None = None
