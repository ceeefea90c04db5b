"""A small U-Net (Ronneberger et al. 2015) that trains in seconds on a laptop.

Where it differs from the original: half the resolution already in the stem, batch normalisation,
padded convolutions, so that logits come out at exactly half the image's height and width, and one
convolution instead of two on the way up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn

from semiseg_lib.models.box_maps import check_box_maps
from semiseg_lib.models.normalise import IMAGENET_MEAN, IMAGENET_STD, Normalise


class UNet(nn.Module):
    """U-Net with four scales, at strides 2, 4, 8 and 16.

    Args:
        num_classes: C, background included.
        width: channels at stride 2; doubled at each of the next two scales.
        box_channels: extra input channels for box maps; 0 for images only.
        norm: "batch", or "group", which does not depend on the other images of a batch.
    """

    stride = 2
    encoder_parts = ("stem", "down")

    def __init__(
        self,
        num_classes: int,
        width: int = 16,
        box_channels: int = 0,
        norm: Literal["batch", "group"] = "batch",
    ) -> None:
        super().__init__()
        self.box_channels = box_channels
        self.normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.stem = convolution(3 + box_channels, width, stride=2, norm=norm)
        self.down = nn.ModuleList(
            double_convolution(a, b, norm) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(
            [convolution(a + b, a, norm=norm) for a, b in pairwise(widths)][::-1]
        )
        self.feature_channels = width
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        """Return the logits of every class at half the image's resolution.

        Args:
            images: (B, 3, H, W) in [0, 1]; H and W divisible by 16.
            box_maps: (B, box_channels, H, W) of zeros and ones; only where the network reads them.

        Returns:
            logits (B, C, H/2, W/2).

        Raises:
            ValueError: box maps missing, or given to a network that reads images only.
        """
        return self.decode(self.encode(images, box_maps))

    def encode(self, images: Tensor, box_maps: Tensor | None = None) -> list[Tensor]:
        """Return the features at strides 2, 4, 8 and 16, from the largest map to the smallest.

        Args:
            images, box_maps: as for :meth:`forward`.

        Raises:
            ValueError: as for :meth:`forward`.
        """
        check_box_maps(box_maps, self.box_channels)
        features = self.normalise(images)
        if box_maps is not None:
            features = torch.cat([features, box_maps], dim=1)
        scales = [self.stem(features)]
        for stage in self.down:
            scales.append(stage(nn.functional.max_pool2d(scales[-1], 2)))
        return scales

    def decode(self, scales: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, C, H/2, W/2).

        Args:
            scales: the features that :meth:`encode` returns.
        """
        return self.head(self.decode_features(scales))

    def decode_features(self, scales: Sequence[Tensor]) -> Tensor:
        """Return the features (B, feature_channels, H/2, W/2) that :attr:`head` classifies.

        Args:
            scales: the features that :meth:`encode` returns.
        """
        *skips, features = scales
        for stage in self.up:
            skip = skips.pop()
            features = nn.functional.interpolate(features, size=skip.shape[-2:], mode="nearest")
            features = stage(torch.cat([skip, features], dim=1))
        return features


def convolution(
    channels_in: int,
    channels_out: int,
    stride: int = 1,
    norm: Literal["batch", "group"] = "batch",
) -> nn.Sequential:
    """Return a 3x3 convolution with normalisation and ReLU.

    Group normalisation has 4 channels per group, or fewer where 4 does not divide them.
    """
    groups = channels_out // gcd(channels_out, 4)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out) if norm == "batch" else nn.GroupNorm(groups, channels_out),
        nn.ReLU(inplace=True),
    )


def double_convolution(
    channels_in: int, channels_out: int, norm: Literal["batch", "group"] = "batch"
) -> nn.Sequential:
    """Return two :func:`convolution` in a row: the block that a U-Net repeats."""
    return nn.Sequential(
        convolution(channels_in, channels_out, norm=norm),
        convolution(channels_out, channels_out, norm=norm),
    )
