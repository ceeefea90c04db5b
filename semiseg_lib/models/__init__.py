"""Segmentation networks: pictures in, logits at head resolution out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from semiseg_lib.models.unet import UNet


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and how wide.

    Attributes:
        architecture: the network.
        width: channels of the U-Net's first stage.
    """

    architecture: Literal["unet"] = "unet"
    width: int = 16


def build(config: ModelConfig, num_classes: int, box_channels: int = 0) -> nn.Module:
    """Build a network ``model(images, box_maps=None) -> logits (B, num_classes, h, w)``.

    Args:
        config: which network.
        num_classes: C, background included.
        box_channels: channels of the box maps that it also reads; 0 for a network that sees
            pictures only.
    """
    return UNet(num_classes, width=config.width, box_channels=box_channels)
