"""Random views of a batch: one geometry for everything that lies on the image, colours apart.

An image, its mask, its box maps and its stored logits must move together. All of them are moved
by the same row and column indices, so they cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2


@dataclass(frozen=True)
class AugmentConfig:
    """How far a view may differ from its image.

    Attributes:
        flip: chance of a left-right flip.
        shift: largest shift in pixels, each way; what leaves one side is mirrored in at it.
        brightness, contrast, saturation: factors are drawn from 1 - x .. 1 + x.
        hue: turn of the colour circle, drawn from -x .. x (1 is a full turn).
    """

    flip: float = 0.5
    shift: int = 8
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.0


@dataclass(frozen=True)
class Geometry:
    """Where each image of a batch is moved.

    Attributes:
        flips: bool (B,).
        shifts: int64 (B, 2), rows and columns in pixels, multiples of the drawing stride.
    """

    flips: Tensor
    shifts: Tensor

    def select(self, places: Tensor) -> Geometry:
        """The geometry of some images of the batch."""
        return Geometry(self.flips[places], self.shifts[places])


def draw_geometry(
    count: int, config: AugmentConfig, stride: int, generator: torch.Generator
) -> Geometry:
    """Draw flips and shifts for ``count`` images.

    Shifts are whole multiples of ``stride``, so that maps stored at H/stride x W/stride (the
    ancillary logits) can follow exactly.
    """
    reach = config.shift // stride
    return Geometry(
        flips=torch.rand(count, generator=generator) < config.flip,
        shifts=stride * torch.randint(-reach, reach + 1, (count, 2), generator=generator),
    )


def move(maps: Tensor, geometry: Geometry, stride: int = 1) -> Tensor:
    """Move maps (B, ..., H/stride, W/stride) by a geometry given in full-resolution pixels."""
    height, width = maps.shape[-2:]
    shifts = torch.div(geometry.shifts, stride, rounding_mode="floor")
    rows = _mirrored(torch.arange(height) - shifts[:, :1], height)
    columns = torch.arange(width).expand(len(maps), width)
    columns = torch.where(geometry.flips[:, None], width - 1 - columns, columns)
    columns = _mirrored(columns - shifts[:, 1:], width)
    image = torch.arange(len(maps))[:, None, None]
    moved = maps.movedim(0, -3)[..., image, rows[:, :, None], columns[:, None, :]]
    return moved.movedim(-3, 0)


def draw_colours(count: int, generator: torch.Generator) -> Tensor:
    """Draw each image's change of brightness, contrast, saturation, hue: (B, 4) in -1 .. 1."""
    return 2 * torch.rand(count, 4, generator=generator) - 1


def recolour(images: Tensor, colours: Tensor | np.ndarray, config: AugmentConfig) -> Tensor:
    """Jitter the colours of each image (B, 3, H, W) in [0, 1] as ``colours`` (B, 4) say."""
    views = []
    for image, drawn in zip(images, colours.tolist(), strict=True):
        brightness, contrast, saturation, hue = drawn
        image = v2.adjust_brightness(image, 1 + config.brightness * brightness)
        image = v2.adjust_contrast(image, 1 + config.contrast * contrast)
        image = v2.adjust_saturation(image, 1 + config.saturation * saturation)
        if config.hue:
            image = v2.adjust_hue(image, config.hue * hue)
        views.append(image)
    return torch.stack(views)


def _mirrored(indices: Tensor, size: int) -> Tensor:
    """Fold indices that left 0 .. size - 1 back in, the edge pixel repeated (… 1 0 | 0 1 …)."""
    folded = indices.remainder(2 * size)
    return torch.minimum(folded, 2 * size - 1 - folded)
