"""A residual network for small images (He et al. 2016, section 4.2): one answer per image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.models.box_maps import check_box_maps
from semiseg_lib.models.encoders import check_name, statistics
from semiseg_lib.models.options import ModelConfig

make_torchvision_importable()

import timm  # noqa: E402
from timm.models.resnet import ResNet  # noqa: E402


class Classifier(nn.Module):
    """A ResNet of timm whose stem is one 3x3 convolution of stride 1, without max pooling.

    For images of 32x32 pixels and less, such as CIFAR-10's: a stem of stride 4 would leave
    nothing of them. The stages halve the image three times. It always starts at random, for no
    published weights belong to this stem.

    ``stride`` is None: the answer is one for the whole image, whatever its size, so the image's
    size over the logits' is not a property of the network. Use it on images of one size that show
    one object; it does not tell the parts of a larger image apart.

    Args:
        config: ``encoder`` of a ModelConfig, a ResNet of timm: resnet18, resnet50, test_resnet.
        num_classes: C.
        box_channels: must be 0: this network reads images only.

    Raises:
        ValueError: the encoder is unknown or not a ResNet; weights or box channels are asked for.
    """

    stride = None
    multiple = 1

    def __init__(self, config: ModelConfig, num_classes: int, box_channels: int = 0) -> None:
        super().__init__()
        if box_channels:
            raise ValueError(
                'architecture "classifier" reads images only, no box maps; for a method that '
                'uses boxes take "deeplab", "vit" or "unet"'
            )
        if config.weights:
            raise ValueError(
                'architecture "classifier" starts at random: no published weights fit its 3x3 '
                f'stem. Set weights to "", not {config.weights!r}'
            )
        network = _with_small_stem(check_name(config.encoder), num_classes)
        self.normalise = statistics(config.encoder)
        self.network = network
        self.reduction: int = network.feature_info[-1]["reduction"] // 4

    def forward(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        """Return the logits of every class for the whole image.

        Args:
            images: (B, 3, H, W) in [0, 1].
            box_maps: must be None.

        Returns:
            logits (B, C, 1, 1).

        Raises:
            ValueError: box maps are given; or, while training, a single image so small that its
                deepest feature is one value per channel, which has no variance for batch norm.
        """
        check_box_maps(box_maps, 0)
        return self.decode(self.encode(images))

    def encode(self, images: Tensor) -> Sequence[Tensor]:
        """Return the deepest feature (B, D, ceil(H/8), ceil(W/8)) as a list of one.

        Args:
            images: (B, 3, H, W) in [0, 1].

        Raises:
            ValueError: while training, a single image too small for batch norm.
        """
        if self.training and len(images) == 1 and max(images.shape[-2:]) <= self.reduction:
            raise ValueError(
                f"one image of {images.shape[-2]}x{images.shape[-1]} per batch is too little for "
                "batch norm while training; take at least 2 images per batch"
            )
        return [self.network.forward_features(self.normalise(images))]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, C, 1, 1) of the feature that :meth:`encode` returns."""
        (deepest,) = features
        return self.network.forward_head(deepest)[:, :, None, None]


def _with_small_stem(encoder: str, num_classes: int) -> ResNet:
    """Return the ResNet with a 3x3 convolution of stride 1 in place of stem and pooling.

    Raises:
        ValueError: the encoder is not a ResNet of timm.
    """
    with torch.device("meta"):
        kind = type(timm.create_model(encoder))
    if not issubclass(kind, ResNet):
        raise ValueError(
            f'architecture "classifier" needs a ResNet of timm, such as resnet18, not {encoder!r}'
        )
    network = timm.create_model(encoder, pretrained=False, num_classes=num_classes)
    stem = nn.Conv2d(3, network.bn1.num_features, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")  # as timm's others
    network.conv1, network.maxpool = stem, nn.Identity()
    return network
