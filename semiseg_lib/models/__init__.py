"""Segmentation networks: images in, logits at head resolution out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from semiseg_lib.core.fingerprint import Configuration, Schema
from semiseg_lib.models.unet import UNet


@dataclass(frozen=True)
class ModelConfig(Configuration):
    """Which network, and how wide.

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
            above 0, up to 1. The published 0.005 needs long training; the statistics of a short
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


def build(config: ModelConfig, num_classes: int, box_channels: int = 0) -> nn.Module:
    """Build a network ``model(images, box_maps=None) -> logits (B, num_classes, h, w)``.

    It has an attribute ``stride``, the image's size over the logits' (None for the classifier,
    whose logits are 1x1 for any image); ``multiple``, where its images' sides need not be multiples
    of 16; and, where a part of it can be pretrained, that part as
    ``encoder`` and its relative learning rate as ``encoder_lr``.

    It works in steps: ``encode(images)`` gives the encoder's features, ``decode(features)`` the
    logits. All but the classifier split the second one: ``decode_features(features)`` gives
    (B, ``feature_channels``, h, w) and ``head`` turns these into logits.

    Args:
        config: which network.
        num_classes: C, background included.
        box_channels: channels of the box maps that it also reads; 0 for a network that sees
            images only, as "swiftnet" and "classifier" must.

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
    if config.architecture == "swiftnet" and config.output_stride != 16:
        raise ValueError("SwiftNet's encoder has stride 32; output_stride is of no use to it")
    head = {
        "width": config.decoder_width,
        "box_channels": box_channels,
        "encoder_lr": config.encoder_lr,
    }
    # Imported late: timm and torchvision take seconds, and the U-Net needs neither.
    if config.architecture == "vit":
        from semiseg_lib.models.vit import ViTEncoder, ViTSegmenter

        return ViTSegmenter(ViTEncoder(config), num_classes, **head)
    if config.architecture == "swiftnet":
        from semiseg_lib.models.swiftnet import SkipEncoder, SwiftNet

        momentum = config.pyramid_momentum
        return SwiftNet(SkipEncoder(config), num_classes, **head, pyramid_momentum=momentum)
    if config.architecture == "classifier":
        from semiseg_lib.models.classifier import Classifier

        return Classifier(config, num_classes, box_channels)
    from semiseg_lib.models.deeplab import DeepLab
    from semiseg_lib.models.encoders import build_encoder

    return DeepLab(
        build_encoder(config), num_classes, config.output_stride, **head, rates=config.rates
    )


def decoder_alone(network: nn.Module) -> nn.Module:
    """What is left of a network without its encoder: it decodes features that another one gives.

    Args:
        network: from :func:`build`, any but the classifier; it is changed.
    """
    for name in network.encoder_parts:
        setattr(network, name, nn.Identity())
    return network
