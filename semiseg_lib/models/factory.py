"""Builders of networks from their options."""

from __future__ import annotations

from torch import nn

from semiseg_lib.models.box_maps import Attention
from semiseg_lib.models.options import ModelConfig
from semiseg_lib.models.unet import UNet


def build(
    config: ModelConfig, num_classes: int, box_channels: int = 0,
    attention: Attention | None = None,
) -> nn.Module:
    """Build a network ``model(images, box_maps=None) -> logits (B, num_classes, h, w)``.

    Its attributes are ``stride``, the image's side over the logits' (None for the classifier, whose
    logits are 1x1 for any image); ``multiple``, if the sides of its images need not be multiples of
    16; and, if a part of it can be pretrained, that part as ``encoder`` and its relative learning
    rate as ``encoder_lr``.

    It works in steps: ``encode(images)`` returns the encoder's features, ``decode(features)`` the
    logits. All but the classifier split the second step: ``decode_features(features)`` returns
    (B, ``feature_channels``, h, w) and ``head`` their logits.

    Args:
        config: which network.
        num_classes: C, background included.
        box_channels: channels of the box maps that it also reads; 0 for a network that sees
            images only, as "swiftnet" and "classifier" must.
        attention: ``attention(box_channels, channels)`` builds the module with which a network
            with a pretrained encoder reads box maps, ``module(features, box_maps)``. The U-Net
            reads them as further channels of the image.

    Raises:
        ValueError: contradictory options, an unknown encoder, or weights that do not fit it.
        FileNotFoundError, RuntimeError: weights unavailable; the message lists the alternatives.
    """
    if config.architecture == "unet":
        return UNet(
            num_classes, width=config.width, box_channels=box_channels, norm=config.norm
        )
    if config.norm != "batch":
        raise ValueError('norm="group" is an option of architecture "unet" only')
    if config.output_stride not in (8, 16):
        raise ValueError(f"output_stride must be 8 or 16, not {config.output_stride}")
    if config.architecture == "swiftnet" and config.output_stride != 16:
        raise ValueError("SwiftNet's encoder has stride 32; leave output_stride at 16")
    head = {"width": config.decoder_width, "encoder_lr": config.encoder_lr}
    boxes = {"box_channels": box_channels, "attention": attention}
    # Imported late: timm and torchvision take seconds, and the U-Net needs neither.
    if config.architecture == "vit":
        from semiseg_lib.models.vit import ViTEncoder, ViTSegmenter

        return ViTSegmenter(ViTEncoder(config), num_classes, **head, **boxes)
    if config.architecture == "swiftnet":
        from semiseg_lib.models.swiftnet import SkipEncoder, SwiftNet

        return SwiftNet(
            SkipEncoder(config), num_classes, **head, box_channels=box_channels,
            pyramid_momentum=config.pyramid_momentum,
        )
    if config.architecture == "classifier":
        from semiseg_lib.models.classifier import Classifier

        return Classifier(config, num_classes, box_channels)
    from semiseg_lib.models.deeplab import DeepLab
    from semiseg_lib.models.encoders import Encoder

    return DeepLab(
        Encoder(config), num_classes, config.output_stride, **head, **boxes,
        rates=config.rates,
    )


def decoder_alone(network: nn.Module) -> nn.Module:
    """Return the network without its encoder, to decode the features of another network.

    Args:
        network: a network with a decoder; it is changed in place.
    """
    for name in network.encoder_parts:
        setattr(network, name, nn.Identity())
    return network
