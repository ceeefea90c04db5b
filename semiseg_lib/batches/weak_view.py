"""Weak views: an image resized, cropped or shifted, flipped, and a little recoloured.

A :class:`View` says which pixel of the resized image each pixel of the view shows. Everything that
lies on the image follows these places: the image itself, its mask (nearest neighbour), its boxes
(by the pixels that they cover), its stored logits (bilinear). So they cannot drift apart.

What a view shows beyond the image is either mirrored in at the border, or padding: void in the
mask and False in ``inside``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.batches import colours
from semiseg_lib.batches.boxes import Allowed, covered_pixels
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes

PADDING_COLOUR = np.array([124, 116, 104], np.uint8)[:, None, None]
"""ImageNet's mean colour, uint8 (3, 1, 1): what a view shows outside the image."""

DRAWS = 10
"""Uniform numbers in [0, 1) that decide a view, six for its geometry and four for its colours."""


@dataclass(frozen=True)
class View:
    """One view of an image.

    Attributes:
        source: (H, W) of the image.
        scaled: (H, W) that it is resized to.
        top, left: the view's corner in the resized image; negative where it begins outside.
        size: (h, w) of the view.
        flip: mirrored left to right after cropping.
        border: what is shown beyond the image; see :class:`ViewConfig`.
    """

    source: tuple[int, int]
    scaled: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]
    flip: bool = False
    border: Literal["padding", "mirror"] = "padding"

    @classmethod
    def whole(cls, size: tuple[int, int]) -> View:
        """Return the view that shows an image of ``size`` (H, W) as it is."""
        return cls(size, size, 0, 0, size)

    @property
    def rows(self) -> np.ndarray:
        """Return the row of the resized image that each row of the view shows, int64 (h,)."""
        return _places(self.top, self.size[0], self.scaled[0], False, self.border)

    @property
    def columns(self) -> np.ndarray:
        """Return the column of the resized image that each column shows, int64 (w,)."""
        return _places(self.left, self.size[1], self.scaled[1], self.flip, self.border)

    def image(self, image: np.ndarray) -> np.ndarray:
        """Return the view of an image uint8 (3, H, W): uint8 (3, h, w)."""
        return self._window(self._resized(image, "bilinear"), PADDING_COLOUR)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Return the view of a mask uint8 (H, W): uint8 (h, w), padding void."""
        return self._window(self._resized(mask[None], "nearest-exact"), VOID)[0]

    def inside(self) -> np.ndarray:
        """Return bool (h, w), True where the view shows the image."""
        if self.border == "mirror":
            return np.ones(self.size, dtype=bool)
        rows, columns = (
            (places >= 0) & (places < side)
            for places, side in zip((self.rows, self.columns), self.scaled, strict=True)
        )
        return np.logical_and.outer(rows, columns)

    def box_maps(self, boxes: Boxes, num_classes: int) -> np.ndarray:
        """Return the view of the boxes' :func:`~semiseg_lib.batches.boxes.class_maps`.

        Boxes are enlarged like the image; a pixel belongs to a box when its centre does.

        Args:
            boxes: in pixels of the image.
            num_classes: C, background included.

        Returns:
            uint8 (C, h, w) of zeros and ones; channel 0 is 1 in padding.
        """
        maps = np.zeros((num_classes, *self.size), np.uint8)
        factors = np.array(self.scaled) / np.array(self.source)
        for (x0, y0, x1, y1), label in zip(boxes.coordinates, boxes.classes, strict=True):
            tall = covered_pixels(y0 * factors[0], y1 * factors[0], self.scaled[0])
            wide = covered_pixels(x0 * factors[1], x1 * factors[1], self.scaled[1])
            maps[label] |= np.logical_and.outer(
                (self.rows >= tall.start) & (self.rows < tall.stop),
                (self.columns >= wide.start) & (self.columns < wide.stop),
            )
        maps[0] = ~maps[1:].any(axis=0)
        return maps

    def allowed(self, allowed: Allowed) -> np.ndarray:
        """Return the view of the classes that an incomplete label allows.

        Args:
            allowed: the boxes, and the classes that are allowed everywhere.

        Returns:
            bool (C, h, w), True in padding.
        """
        maps = self.box_maps(allowed.boxes, len(allowed.everywhere)).astype(bool)
        maps[0] = False
        return maps | allowed.everywhere[:, None, None] | ~self.inside()

    def logits(self, logits: np.ndarray) -> np.ndarray:
        """Return the view of stored logits (C, h, w): (C, n, m), one for each stride pixels.

        One stored logit covers stride x stride pixels of the image, the first of them from its
        upper left corner. They are sampled bilinearly at the centres of the view's own logits;
        beyond the image's edge the nearest one is repeated, or they are mirrored like the image.
        """
        stride = stored_stride(self.source, logits.shape[-2:])
        for axis, corner, flip in ((1, self.top, False), (2, self.left, self.flip)):
            low, high, share = _between(
                corner, self.size[axis - 1], self.scaled[axis - 1], self.source[axis - 1],
                logits.shape[axis], stride, flip, self.border,
            )
            below = logits.take(low, axis)
            if share is not None:
                share = share[:, None] if axis == 1 else share
                above = logits.take(high, axis).astype(np.float32)
                below = below + share * (above - below)
            logits = below
        return logits

    def _resized(self, maps: np.ndarray, how: str) -> np.ndarray:
        """Resize whole maps (C, H, W); a part resized by itself would differ at its edges."""
        if self.scaled == self.source:
            return maps
        make_torchvision_importable()  # takes more than a second: here, not with this module
        from torchvision.transforms.v2 import InterpolationMode, functional

        tensor = torch.from_numpy(np.require(maps, requirements="W"))
        resized = functional.resize(
            tensor, list(self.scaled), InterpolationMode(how), antialias=True
        )
        return resized.numpy()

    def _window(self, maps: np.ndarray, padding: np.ndarray | int) -> np.ndarray:
        """Return what the view shows of resized maps (C, H, W): (C, h, w), ``padding`` beyond."""
        rows, columns = self.rows, self.columns
        if self.border == "padding":
            rows = rows.clip(0, self.scaled[0] - 1)
            columns = columns.clip(0, self.scaled[1] - 1)
        window = maps.take(rows, axis=1).take(columns, axis=2)
        if self.border == "padding":
            window[:, rows != self.rows] = padding
            window[:, :, columns != self.columns] = padding
        return window


def draw_view(
    size: Sequence[int], config: ViewConfig, draws: Sequence[float] | np.ndarray, stride: int = 1
) -> View:
    """Return the view of an image of ``size`` (H, W) that uniform random numbers determine.

    Args:
        size: of the image.
        config: how far the view may differ.
        draws: :data:`DRAWS` numbers in [0, 1).
        stride: shifts are multiples of so many pixels, so that logits stored at (H/stride,
            W/stride) follow exactly.
    """
    low, high = config.scale
    factor = low + (high - low) * draws[0]
    source_height, source_width = size
    height, width = (max(round(side * factor), 1) for side in size)
    crop = (config.crop, config.crop) if config.crop else (source_height, source_width)
    reach = config.shift // stride
    return View(
        source=(source_height, source_width),
        scaled=(height, width),
        top=_corner(height - crop[0], draws[1]) + stride * _whole(-reach, reach, draws[3]),
        left=_corner(width - crop[1], draws[2]) + stride * _whole(-reach, reach, draws[4]),
        size=crop,
        flip=bool(draws[5] < config.flip),
        border=config.border,
    )


def recolour(images: Tensor, config: ViewConfig, draws: np.ndarray) -> Tensor:
    """Jitter the colours of images (B, 3, H, W) in [0, 1].

    Args:
        images: not changed; the result is a new tensor unless no colour may change.
        config: how far colours may change.
        draws: (B, 4) numbers in [0, 1), for brightness, contrast, saturation and hue.
    """
    reach = (config.brightness, config.contrast, config.saturation, config.hue)
    return jitter(images, reach, 2 * draws - 1)


def jitter(images: Tensor, reach: Sequence[float], draws: np.ndarray) -> Tensor:
    """Change brightness, contrast, saturation and hue of images (B, 3, H, W), in this order.

    Args:
        images: in [0, 1].
        reach: how far each of the four may change; 0 leaves it as it is.
        draws: (B, 4) in [-1, 1). A factor is 1 + reach * draw; hue turns by reach * draw.
    """
    changes = np.ascontiguousarray((draws * np.array(reach)).T, np.float32)
    changes[:3] += 1  # three factors and a turn
    adjust = (
        colours.adjust_brightness, colours.adjust_contrast, colours.adjust_saturation,
        colours.adjust_hue,
    )
    for number, values in enumerate(torch.from_numpy(changes).to(images.device)):
        if reach[number]:
            images = adjust[number](images, values)
    return images


def stored_stride(image: Sequence[int], stored: Sequence[int]) -> int:
    """Return the stride in pixels of stored logits, h = ceil(H / stride): a power of two."""
    longest = 0 if image[0] >= image[1] else 1
    return 2 ** round(math.log2(image[longest] / stored[longest]))


def _corner(room: int, draw: float) -> int:
    """Return where a crop begins, in [0, room]; negative room is padding on both sides."""
    return _whole(min(0, room), max(0, room), draw)


def _whole(low: int, high: int, draw: float) -> int:
    """Return the integer in [low, high] for a uniform number in [0, 1)."""
    return low + int(draw * (high - low + 1))


@lru_cache(maxsize=1024)
def _places(corner: int, length: int, side: int, flip: bool, border: str) -> np.ndarray:
    """Return the indices of ``length`` neighbouring pixels from ``corner`` on, int64 (length,).

    A border of "mirror" maps them to 0 .. side - 1, with the edge repeated: … 1 0 | 0 1 …
    """
    places = corner + np.arange(length)
    places = places[::-1] if flip else places
    if border == "mirror":
        places = places % (2 * side)
        places = np.minimum(places, 2 * side - 1 - places)
    places.flags.writeable = False
    return places


@lru_cache(maxsize=1024)
def _between(
    corner: int, length: int, side: int, before: int, count: int, stride: int, flip: bool,
    border: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return which stored logits the view's own logits lie between, along one axis.

    Args:
        corner, length: of the view, in pixels of the resized image.
        side, before: of the resized image, and of the image.
        count: how many logits are stored along the axis.
        stride: pixels of the image that one of them covers.
        flip, border: as for the view.

    Returns:
        the indices below and above, int64 (n,), and the share of the one above, float32 (n,), or
        None if every centre is that of a stored logit. Beyond the edge the last one is repeated.
    """
    centres = (np.arange(-(-length // stride)) + 0.5) * stride
    centres = corner + (length - centres if flip else centres)
    if border == "mirror":
        centres = centres % (2 * side)
        centres = np.minimum(centres, 2 * side - centres)
    places = (centres * before / side / stride - 0.5).clip(0, count - 1)
    low = places.astype(np.int64)
    share = (places - low).astype(np.float32)
    return low, np.minimum(low + 1, count - 1), share if share.any() else None
