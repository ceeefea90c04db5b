"""DeepLabv3+ (Chen et al. 2018): a pretrained encoder, ASPP, and a small decoder at stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.models.box_maps import Attention, check_attention
from semiseg_lib.models.encoders import Encoder
from semiseg_lib.models.segmenter import Segmenter

make_torchvision_importable()

from torchvision.models.segmentation.deeplabv3 import ASPP  # noqa: E402

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
SKIP_WIDTH = 48


class DeepLab(Segmenter):
    """DeepLabv3+ on any convolutional encoder.

    The encoder's last feature passes through atrous spatial pyramid pooling (torchvision's ASPP,
    whose last layer is a dropout of 0.5), is enlarged to stride 4, joined with the encoder's own
    feature at stride 4, which a 1x1 convolution has narrowed to 48 channels, and passes two 3x3
    depthwise-separable convolutions and the 1x1 classifier.

    Where it differs: ASPP's branch of the image's mean is normalised over its channels, not over
    the batch. A batch norm of 1x1 maps fails for one image, and is mostly noise for a few.

    With box maps two features pass an ``attention`` of their own: the ASPP's output, and the skip
    at stride 4 before its 48-channel projection.

    Args:
        encoder: images (B, 3, H, W) to features at stride 4 and at ``output_stride``.
        num_classes: C, background included.
        output_stride: 16, with rates 6, 12, 18; or 8, with 12, 24, 36.
        width: channels of ASPP and decoder.
        box_channels: channels of the box maps that it also reads; 0 for images only.
        encoder_lr: learning rate of the encoder relative to the rest.
        rates: dilation of the pyramid's three branches; () for those of the output stride.
        attention: ``attention(box_channels, channels)`` makes what reads the box maps.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        output_stride: int = 16,
        width: int = 256,
        box_channels: int = 0,
        encoder_lr: float = 1.0,
        rates: Sequence[int] = (),
        attention: Attention | None = None,
    ) -> None:
        super().__init__(encoder, encoder_lr, box_channels)
        low, deep = encoder.channels
        self.aspp = ASPP(deep, list(rates or RATES[output_stride]), out_channels=width)
        _, _, pooled_norm, _ = self.aspp.convs[-1]
        self.aspp.convs[-1][2] = nn.GroupNorm(1, pooled_norm.num_features)
        self.project = nn.Sequential(
            nn.Conv2d(low, SKIP_WIDTH, kernel_size=1, bias=False),
            nn.BatchNorm2d(SKIP_WIDTH),
            nn.ReLU(inplace=True),
        )
        self.decoder = nn.Sequential(
            separable_convolution(width + SKIP_WIDTH, width), separable_convolution(width, width)
        )
        self.feature_channels = width
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)
        if box_channels:
            self.attend_deep = check_attention(attention)(box_channels, width)
            self.attend_low = attention(box_channels, low)

    def decode_features(
        self, features: Sequence[Tensor], box_maps: Tensor | None = None
    ) -> Tensor:
        """Return the features at stride 4, (B, feature_channels, ceil(H/4), ceil(W/4)).

        Args:
            features: (B, D, h, w) at stride 4 and at the output stride.
            box_maps: (B, box_channels, H, W); None for a network that reads images only.
        """
        low, deep = features
        deep = self.aspp(deep)
        if box_maps is not None:
            deep, low = self.attend_deep(deep, box_maps), self.attend_low(low, box_maps)
        skip = self.project(low)
        deep = nn.functional.interpolate(
            deep, size=skip.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.decoder(torch.cat([deep, skip], dim=1))


def separable_convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    """Return a 3x3 depthwise and a 1x1 convolution, each with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
