"""Segmentation networks: pictures in, logits at head resolution out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from semiseg_lib.models.unet import UNet
from semiseg_lib.options import added


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and how wide.

    Attributes:
        architecture: the network: a small U-Net from scratch, DeepLabv3+ on a convolutional
            encoder, or a vision transformer with a small head.
        width: channels of the U-Net's first stage.
        encoder: timm's name of the encoder of "deeplab" and "vit": resnet50, resnet101,
            tf_efficientnet_lite0, vit_small_patch14_dinov2.lvd142m.
        weights: where the encoder starts: "" random, "hub" (timm's pretrained weights, needs
            internet once), "package" (tf_efficientnet_lite0, from a Python package), or the path
            of a .safetensors, .pth or .pt file.
        output_stride: stride of DeepLabv3+'s deepest feature; 8 sees finer and costs more.
        decoder_width: channels of ASPP and decoder.
        encoder_lr: learning rate of the encoder relative to the rest of the network.
        norm: normalisation in the U-Net; "group" does not depend on the other pictures of a batch.
    """

    architecture: Literal["unet", "deeplab", "vit"] = "unet"
    width: int = 16
    encoder: str = added("")
    weights: str = added("")
    output_stride: Literal[8, 16] = added(16)
    decoder_width: int = added(256)
    encoder_lr: float = added(1.0)
    norm: Literal["batch", "group"] = added("batch")


def build(config: ModelConfig, num_classes: int, box_channels: int = 0) -> nn.Module:
    """Build a network ``model(images, box_maps=None) -> logits (B, num_classes, h, w)``.

    It has an attribute ``stride``, the picture's size over the logits'; and, where a part of it can
    be pretrained, that part as ``encoder`` and its relative learning rate as ``encoder_lr``.

    Args:
        config: which network.
        num_classes: C, background included.
        box_channels: channels of the box maps that it also reads; 0 for a network that sees
            pictures only.

    Raises:
        ValueError: options that do not go together, an unknown encoder, weights that do not fit.
        FileNotFoundError, RuntimeError: the weights cannot be had; the message names the ways.
    """
    if config.architecture == "unet":
        return UNet(
            num_classes, width=config.width, box_channels=box_channels, norm=config.norm
        )
    if config.norm != "batch":
        raise ValueError('norm="group" is there for architecture "unet" only')
    if config.output_stride not in (8, 16):
        raise ValueError(f"output_stride is 8 or 16, not {config.output_stride}")
    head = {
        "width": config.decoder_width,
        "box_channels": box_channels,
        "encoder_lr": config.encoder_lr,
    }
    # Imported late: timm and torchvision take seconds, and the U-Net needs neither.
    if config.architecture == "vit":
        from semiseg_lib.models.vit import ViTEncoder, ViTSegmenter

        return ViTSegmenter(ViTEncoder(config), num_classes, **head)
    from semiseg_lib.models.deeplab import DeepLab
    from semiseg_lib.models.encoders import build_encoder

    return DeepLab(build_encoder(config), num_classes, config.output_stride, **head)
