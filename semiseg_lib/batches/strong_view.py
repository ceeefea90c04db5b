"""Strong views: the same image with its colours changed much more than for a weak view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from semiseg_lib.batches.colours import grey
from semiseg_lib.batches.weak_view import jitter
from semiseg_lib.core.fingerprint import Configuration

KERNEL = 9  # pixels; holds two standard deviations of the strongest default blur on either side
DRAWS = 8
"""Uniform numbers in [0, 1) per image: three chances, four colours, the blur."""


@dataclass(frozen=True)
class StrongConfig(Configuration):
    """How far a strong view may differ from the weak one. The defaults are FixMatch's.

    Nothing moves: a label of the weak view is one of the strong view too.

    Attributes:
        jitter: chance of a change of brightness, contrast, saturation and hue.
        brightness, contrast, saturation: factors are drawn from 1 - x .. 1 + x.
        hue: turn of the colour circle, drawn from -x .. x (1 is a full turn).
        grey: chance that the colours go.
        blur: chance of a Gaussian blur.
        sigma: its standard deviation in pixels, drawn from this range.
    """

    jitter: float = 0.8
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    grey: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        for name in ("jitter", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"strong.{name} is {getattr(self, name)}; it must be in [0, 1].")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"strong.hue is {self.hue}; it must be in [0, 0.5].")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"strong.sigma is {self.sigma}; it must be a range above 0.")


def strong_view(images: Tensor, config: StrongConfig, rng: np.random.Generator) -> Tensor:
    """Return a strong view of each image (B, 3, H, W) in [0, 1]; each has its own draws.

    In single precision also under autocast: half as exact would be a visible step of grey.
    """
    draws = rng.random((len(images), DRAWS))
    reach = (config.brightness, config.contrast, config.saturation, config.hue)
    low, high = config.sigma
    changes = (
        (config.jitter, lambda views, own: jitter(views, reach, 2 * own[:, 3:7] - 1)),
        (config.grey, lambda views, own: grey(views).expand_as(views)),
        (config.blur, lambda views, own: blur(views, low + (high - low) * own[:, 7])),
    )
    with torch.autocast(images.device.type, enabled=False):
        views = images.to(torch.float32, copy=True)
        for (chance, change), drawn in zip(changes, draws.T, strict=False):
            changed = np.flatnonzero(drawn < chance)
            if len(changed):
                views[changed] = change(views[changed], draws[changed])
    return views


def blur(images: Tensor, sigma: np.ndarray) -> Tensor:
    """Blur each image (B, C, H, W) with a Gaussian of its own standard deviation (B,), in pixels.

    The kernel has :data:`KERNEL` pixels; images are mirrored at their edge, without the edge pixel.
    """
    reach, (count, channels, height, width) = KERNEL // 2, images.shape
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma[:, None]) ** 2)
    weights = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).to(images)
    kernels = weights.repeat_interleave(channels, dim=0)  # each channel of each image has its own
    maps = pad(images, [reach] * 4, mode="reflect").reshape(1, len(kernels), *(
        side + 2 * reach for side in (height, width)
    ))
    for shape in ((1, KERNEL), (KERNEL, 1)):
        maps = conv2d(maps, kernels.view(-1, 1, *shape), groups=len(kernels))
    return maps.reshape(count, channels, height, width)
