"""Options that choose a network; importing them does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from semiseg_lib.core.fingerprint import Configuration, Schema


@dataclass(frozen=True)
class ModelConfig(Configuration):
    """Architecture, encoder and width of a network.

    Attributes:
        architecture: the network: a small U-Net from scratch, DeepLabv3+ or SwiftNet on a
            convolutional encoder, a vision transformer with a small head, or a classifier of whole
            small images.
        width: channels of the U-Net's first stage.
        encoder: timm's name of the encoder of every network but the U-Net: resnet18, resnet50,
            resnet101, tf_efficientnet_lite0; "vit" takes vit_small_patch14_dinov2.lvd142m,
            "classifier" a ResNet.
        weights: where the encoder starts: "" random, "hub" (timm's pretrained weights, needs
            internet once), "package" (tf_efficientnet_lite0, from a Python package), or the path
            of a .safetensors, .pth or .pt file. Where the file lies decides nothing; its
            bytes do.
        output_stride: stride of DeepLabv3+'s deepest feature; 8 sees finer and costs more.
        decoder_width: channels of ASPP and decoder; SwiftNet's published one is 128.
        encoder_lr: learning rate of the encoder relative to the rest of the network.
        norm: normalisation in the U-Net; "group" does not depend on the other images of a batch.
        pyramid_momentum: how far the running statistics of SwiftNet's pyramid follow each batch,
            in (0, 1]. The published 0.005 needs long training; the statistics of a short
            one would stay near their start.
        rates: dilation of the three branches of DeepLabv3+'s pyramid; () for those that belong to
            the output stride.
    """

    SCHEMA = Schema(paths={"weights": ("", "hub", "package")})

    architecture: Literal["unet", "deeplab", "vit", "swiftnet", "classifier"] = "unet"
    width: int = 16
    encoder: str = ""
    weights: str = ""
    output_stride: Literal[8, 16] = 16
    decoder_width: int = 256
    encoder_lr: float = 1.0
    norm: Literal["batch", "group"] = "batch"
    pyramid_momentum: float = 0.1
    rates: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.check_ranges(
            "model", width=(1, inf), decoder_width=(1, inf), encoder_lr=(0, inf),
            pyramid_momentum=(0, 1),
        )
