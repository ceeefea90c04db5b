"""Vectors that are compared with each other: what contrastive losses make of features."""

from __future__ import annotations

from torch import Tensor, nn


class Projector(nn.Sequential):
    """Projection of features (B, D, h, w) to unit vectors (B, width, h, w).

    Two 1x1 convolutions with a ReLU between them, then each pixel's vector divided by its length.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, width, kernel_size=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.normalize(super().forward(features), dim=1)
