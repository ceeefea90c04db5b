"""Random views of photographs: scaled, cropped to a square, flipped, recoloured.

One :class:`View` is drawn an image, and everything that lies on the image follows it: the mask
by nearest neighbour, the boxes by their coordinates, stored logits by bilinear sampling. Where the
scaled image is smaller than the crop, the rest is padding; it is void in the mask and False in
``inside``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from semiseg_lib.datasets.augment import recolour
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes

PADDING_COLOUR = (124, 116, 104)
"""ImageNet's mean colour: what lies outside an image looks like nothing in particular."""


@dataclass(frozen=True)
class CropConfig:
    """How far a view may differ from its photograph.

    Attributes:
        crop: height and width of a view in pixels, at least 16.
        scale: the image is enlarged by a factor drawn from this range first.
        flip: chance of a left-right flip.
        brightness, contrast, saturation: factors are drawn from 1 - x .. 1 + x.
        hue: turn of the colour circle, drawn from -x .. x (1 is a full turn).
    """

    crop: int = 320
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        if self.crop < 16:
            raise ValueError(f"augment.crop is {self.crop}; it must be at least 16.")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augment.scale is {self.scale}; it must be a range above 0.")


@dataclass(frozen=True)
class View:
    """One drawn view.

    Attributes:
        source: (H, W) of the image.
        scaled: (H, W) it is resized to.
        top, left: the crop's corner in the resized image; negative where padding comes first.
        crop: side of the crop.
        flip: mirrored left to right after cropping.
    """

    source: tuple[int, int]
    scaled: tuple[int, int]
    top: int
    left: int
    crop: int
    flip: bool

    def image(self, image: Tensor) -> Tensor:
        """The view of an image uint8 (3, H, W): uint8 (3, crop, crop)."""
        scaled = v2.resize(image, list(self.scaled), InterpolationMode.BILINEAR, antialias=True)
        colour = torch.tensor(PADDING_COLOUR, dtype=image.dtype).view(3, 1, 1)
        return self._window(scaled, colour)

    def mask(self, mask: Tensor) -> Tensor:
        """The view of a mask uint8 (H, W): uint8 (crop, crop), padding void."""
        scaled = v2.resize(mask[None], list(self.scaled), InterpolationMode.NEAREST_EXACT)
        return self._window(scaled, torch.tensor(VOID, dtype=mask.dtype))[0]

    def inside(self) -> Tensor:
        """Bool (crop, crop): True where the view shows the image."""
        return self._window(torch.ones(1, *self.scaled, dtype=torch.bool), torch.tensor(False))[0]

    def boxes(self, boxes: Boxes) -> Boxes:
        """The boxes in the view's pixels; those that lie outside it are left out."""
        factors = np.array(self.scaled[::-1]) / np.array(self.source[::-1])
        moved = boxes.coordinates * np.tile(factors, 2) - np.tile([self.left, self.top], 2)
        if self.flip:
            moved[:, [0, 2]] = self.crop - moved[:, [2, 0]]
        moved = moved.clip(0, self.crop).astype(np.float32)
        seen = (moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])
        return Boxes(moved[seen], boxes.classes[seen])

    def logits(self, logits: Tensor) -> Tensor:
        """The view of stored logits (C, h, w): float32 (C, n, n) with n = ceil(crop / stride).

        One stored logit covers stride x stride pixels of the image, the first of them from its
        upper left corner. They are sampled bilinearly at the centres of the view's own logits;
        beyond the image's edge the nearest one is repeated.
        """
        stride = stored_stride(self.source, logits.shape[-2:])
        centres = (torch.arange(-(-self.crop // stride)) + 0.5) * stride
        across = (self.crop - centres if self.flip else centres) + self.left
        factors = [n / m for n, m in zip(self.source, self.scaled, strict=True)]
        rows = (centres + self.top) * factors[0] / (logits.shape[-2] * stride)
        columns = across * factors[1] / (logits.shape[-1] * stride)
        grid = torch.stack(torch.meshgrid(2 * columns - 1, 2 * rows - 1, indexing="xy"), dim=-1)
        return nn.functional.grid_sample(
            logits[None].float(), grid[None], padding_mode="border", align_corners=False
        )[0]

    def _window(self, maps: Tensor, padding: Tensor) -> Tensor:
        """Cut the crop out of (C, H, W) maps, filling what lies outside."""
        height, width = self.scaled
        window = padding.expand(len(maps), self.crop, self.crop).clone()
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + self.crop, height), min(self.left + self.crop, width)
        window[:, top - self.top : bottom - self.top, left - self.left : right - self.left] = (
            maps[:, top:bottom, left:right]
        )
        return window.flip(-1) if self.flip else window


def draw_view(size: tuple[int, int], config: CropConfig, generator: torch.Generator) -> View:
    """Draw the view of an image of ``size`` (H, W)."""
    low, high = config.scale
    factor = low + (high - low) * float(torch.rand((), generator=generator))
    scaled = tuple(max(round(side * factor), 1) for side in size)
    top, left = (_offset(side - config.crop, generator) for side in scaled)
    flip = bool(torch.rand((), generator=generator) < config.flip)
    return View(tuple(size), scaled, top, left, config.crop, flip)


def colour_view(image: Tensor, config: CropConfig, generator: torch.Generator) -> Tensor:
    """Jitter the colours of one image (3, H, W) in [0, 1]."""
    drawn = 2 * torch.rand(1, 4, generator=generator) - 1
    if not any((config.brightness, config.contrast, config.saturation, config.hue)):
        return image
    return recolour(image[None], drawn, config)[0]


def stored_stride(image: tuple[int, int], stored: tuple[int, int]) -> int:
    """How many pixels one stored logit covers: h = ceil(H / stride), stride a power of two."""
    longest = int(np.argmax(image))
    return 2 ** round(float(np.log2(image[longest] / stored[longest])))


def _offset(room: int, generator: torch.Generator) -> int:
    """A corner between 0 and ``room``; negative room is padding, shared out between both sides."""
    low, high = min(room, 0), max(room, 0)
    return int(torch.randint(low, high + 1, (), generator=generator))
