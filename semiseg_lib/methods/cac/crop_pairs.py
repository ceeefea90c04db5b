"""Draw two overlapping crops (E1) of each image of a batch, on one grid, so that cells coincide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import lcm

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.batches.part import Part

UNIT = 16  # pixels; networks take sides that are multiples of it
TRIES = 50  # for a second crop that overlaps enough


@dataclass(frozen=True)
class Crops:
    """One crop of each image of a batch, all of one size.

    Attributes:
        corners: int (B, 2), top row and left column of each, in pixels of the image.
        size: rows and columns.
        flipped: bool (B,), which are mirrored left to right.
    """

    corners: np.ndarray
    size: tuple[int, int]
    flipped: np.ndarray

    def __call__(self, maps: Tensor) -> Tensor:
        """Cut anything that lies on the images, (B, ..., H, W)."""
        height, width = self.size
        pieces = []
        for one, (top, left), flip in zip(maps, self.corners.tolist(), self.flipped, strict=True):
            piece = one[..., top:top + height, left:left + width]
            pieces.append(piece.flip(-1) if flip else piece)
        return torch.stack(pieces)

    def cut(self, part: Part) -> Part:
        """Return the crops of a batch's images and masks, without boxes and logits.

        Args:
            part: the batch that the crops lie in.
        """
        masks, inside = (
            None if maps is None else self(maps) for maps in (part.masks, part.inside)
        )
        return Part(part.names, self(part.images), masks, inside=inside)

    def cells(self, number: int, rows: np.ndarray, columns: np.ndarray, stride: int) -> np.ndarray:
        """Return where pixels of an image lie in the crops' flattened grids (B, h, w) of cells.

        Args:
            number: of the image in the batch.
            rows, columns: of its pixels, within its crop.
            stride: pixels per cell.
        """
        height, width = (side // stride for side in self.size)
        top, left = self.corners[number]
        column = (columns - left) // stride
        if self.flipped[number]:
            column = width - 1 - column
        return (number * height + (rows - top) // stride) * width + column


def crop_size(view: Sequence[int], share: float, stride: int) -> tuple[int, int]:
    """Return the sides of crops, multiples of 16 and of ``stride``: ``share`` of the view's.

    Raises:
        ValueError: the view is smaller than the smallest crop.
    """
    unit = lcm(UNIT, stride)
    if min(view) < unit:
        raise ValueError(
            f"views of {view[0]}x{view[1]} pixels are too small: the sides of their crops are "
            f"multiples of {unit}, which {UNIT} (for the network) and the stride {stride} divide."
        )
    height, width = (
        min(max(round(side * share / unit), 1), side // unit) * unit for side in view
    )
    return height, width


def draw_crops(
    images: Tensor, share: float, stride: int, rng: np.random.Generator, flip: float = 0.0
) -> Crops:
    """Draw a crop of each image.

    Args:
        images: (B, 3, H, W).
        share: side of a crop over that of its image; see :func:`crop_size`.
        stride: corners lie at multiples of it.
        rng: draws corners and flips.
        flip: chance of a left-right flip.
    """
    count, _, *view = images.shape
    size = crop_size(view, share, stride)
    corners = _corners(count, view, size, stride, rng)
    return Crops(corners, size, rng.random(count) < flip)


def draw_pair(
    images: Tensor,
    share: float,
    stride: int,
    rng: np.random.Generator,
    flip: float = 0.0,
    overlap: float = 0.1,
) -> tuple[Crops, Crops]:
    """Draw two crops of each image (E1), each as :func:`draw_crops` draws one.

    The second one is drawn anew until the intersection of both over their union is at least
    ``overlap``, at most 50 times; then it gets the first one's place.

    Args:
        images: (B, 3, H, W).
        share: side of a crop as a share of the image's.
        stride: s, pixels per cell.
        rng: draws corners and flips.
        flip: chance that the second crop is mirrored.
        overlap: o, the smallest intersection over union.
    """
    first, second = (draw_crops(images, share, stride, rng, flip) for _ in range(2))
    corners, size = second.corners.copy(), first.size
    for number, corner in enumerate(first.corners):
        for _ in range(TRIES):
            if shared_share(corner, corners[number], size) >= overlap:  # (E1)
                break
            corners[number] = _corners(1, images.shape[-2:], size, stride, rng)[0]
        else:
            corners[number] = corner
    return first, replace(second, corners=corners)


def shared_share(corner: np.ndarray, other: np.ndarray, size: tuple[int, int]) -> float:
    """Return the intersection over union of two rectangles of one size at corners (2,).

    Args:
        corner, other: rows and columns of the upper left corners.
        size: (h, w) of both.
    """
    shared = np.prod(np.clip(size - np.abs(corner - other), 0, None))
    return float(shared / (2 * np.prod(size) - shared))


def shared_cells(one: Crops, two: Crops, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells that both crops of an image show, as places in either's grids.

    Args:
        one, two: crops of the same images.
        stride: s, pixels per cell.

    Returns:
        two int arrays (N,) of places in the flattened grids (B, h, w): entry i of both is the same
        cell of the same image. Images come one after the other, rows from top to bottom.
    """
    places: tuple[list, list] = ([], [])
    for number, corners in enumerate(zip(one.corners, two.corners, strict=True)):
        low, high = np.max(corners, axis=0), np.min(corners, axis=0) + one.size
        rows, columns = np.meshgrid(
            *(np.arange(*ends, stride) for ends in zip(low, high, strict=True)), indexing="ij"
        )
        for crops, found in zip((one, two), places, strict=True):
            found.append(crops.cells(number, rows, columns, stride).ravel())
    first, second = (np.concatenate(found) for found in places)
    return first, second


def _corners(
    count: int, view: Sequence[int], size: tuple[int, int], stride: int, rng: np.random.Generator
) -> np.ndarray:
    free = (np.array(view) - size) // stride
    return stride * rng.integers(0, free, (count, 2), endpoint=True)  # multiples of s, (E1)
