"""Strong views: the same image with its colours changed much more than for a weak view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from semiseg_lib.batches.colours import grey
from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.batches.weak_view import jitter

KERNEL = 9  # pixels; holds two standard deviations of the strongest default blur on either side
DRAWS = 8
"""Uniform numbers in [0, 1) per image, three chances, four colours and the blur."""


def strong_view(images: Tensor, config: StrongConfig, rng: np.random.Generator) -> Tensor:
    """Return a strong view of each image, float32 (B, 3, H, W) in [0, 1].

    Computed in single precision also under autocast: half precision would show as steps of grey.

    Args:
        images: float (B, 3, H, W) in [0, 1].
        config: how far a view may differ.
        rng: draws the changes, for each image its own.
    """
    draws = rng.random((len(images), DRAWS))
    reach = (config.brightness, config.contrast, config.saturation, config.hue)
    low, high = config.sigma
    changes: tuple[tuple[float, Callable[[Tensor, np.ndarray], Tensor]], ...] = (
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
