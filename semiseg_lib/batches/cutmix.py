"""CutMix (Yun et al. 2019): rectangles of one image pasted onto another, labels and all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.batches.options import CutMixConfig


def draw_masks(
    count: int, size: tuple[int, int], config: CutMixConfig, rng: np.random.Generator
) -> Tensor:
    """Draw which pixels of each image another one covers.

    A rectangle of area share a has the height exp(u), with u uniform between the logarithms of the
    shortest and the longest side that a and ``aspect`` allow, and the width a / height; each side
    is then divided by the root of the number of rectangles. It lies anywhere inside the image.

    Args:
        count: number of images.
        size: (H, W) in pixels.
        config: the rectangles.
        rng: draws them.

    Returns:
        bool (count, H, W), True where an image is covered.
    """
    boxes = (count, config.boxes)
    area = np.log(rng.uniform(*config.area, boxes))
    shortest = area
    if config.aspect:
        shortest = np.maximum(area, (area + np.log(config.aspect)) / 2)
    height = rng.uniform(shortest, area - shortest)
    shares = np.exp(np.stack([height, area - height], axis=-1)) / np.sqrt(config.boxes)
    sides = np.rint(shares * size).astype(int)
    corners = rng.integers(0, np.array(size) - sides, endpoint=True)
    rows, columns = (
        (corners[..., axis, None] <= places) & (places < (corners + sides)[..., axis, None])
        for axis, places in enumerate(map(np.arange, size))
    )
    covered = np.logical_xor.reduce(rows[..., :, None] & columns[..., None, :], axis=1)
    mixed = rng.random(count) < config.chance
    return torch.from_numpy(covered & mixed[:, None, None])


@dataclass(frozen=True)
class Mix:
    """Each image of a batch with parts of the next one, and of the first one on the last.

    Attributes:
        masks: bool (B, H, W), True where the next image is pasted.
    """

    masks: Tensor

    def __call__(self, maps: Tensor) -> Tensor:
        """Mix maps of the images, (B, H, W) or (B, C, H, W)."""
        masks = self.masks if maps.ndim == 3 else self.masks[:, None]
        return torch.where(masks, maps.roll(-1, dims=0), maps)


def draw_mix(images: Tensor, config: CutMixConfig | None, rng: np.random.Generator) -> Mix:
    """Draw how the images of a batch are mixed.

    Args:
        images: (B, 3, H, W); only their number, size and device are used.
        config: the rectangles; None mixes nothing.
        rng: draws the rectangles.

    Returns:
        A callable that mixes maps (B, H, W) or (B, C, H, W) of these images, all in the same way.

    Raises:
        ValueError: there is one image only, and no other to paste.
    """
    count, _, height, width = images.shape
    if config is None:
        return Mix(torch.zeros(count, height, width, dtype=torch.bool, device=images.device))
    if count < 2:
        raise ValueError(
            "CutMix pastes one image onto another, but a process has one only: give each at "
            "least two (train.batch_unlabelled), or leave CutMix out."
        )
    return Mix(draw_masks(count, (height, width), config, rng).to(images.device))
