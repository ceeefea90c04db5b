"""The error-localisation network (E1): where is the prediction for an image right?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semiseg_lib.methods.losses import enlarge
from semiseg_lib.models import ModelConfig
from semiseg_lib.models.unet import UNet


class ErrorNetwork(nn.Module):
    """Image, logits and their entropy to one logit per pixel: "the prediction is right here".

    All that it reads is brought to the image's size and detached: no gradient leaves it.

    A U-Net reads the further maps where another one reads box maps. DeepLabv3+ (published: on a
    ResNet-34) reads them as further channels of its first convolution. Where it differs:
    pretrained weights of the colours are repeated for them (published: that layer is random).

    Args:
        config: which network, "unet" or "deeplab".
        num_classes: C, background included.

    Raises:
        ValueError: another architecture. Else as :func:`semiseg_lib.models.build`.
    """

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__()
        maps = num_classes + 1
        self.boxed = config.architecture == "unet"
        if self.boxed:
            self.network = UNet(1, width=config.width, box_channels=maps, norm=config.norm)
        elif config.architecture == "deeplab":
            # Imported late: timm and torchvision take seconds, and the U-Net needs neither.
            from semiseg_lib.models.deeplab import DeepLab
            from semiseg_lib.models.encoders import Encoder

            self.network = DeepLab(
                Encoder(config, further=maps), 1, config.output_stride,
                width=config.decoder_width, encoder_lr=config.encoder_lr, rates=config.rates,
            )
        else:
            raise ValueError(
                'the error-localisation network (error.architecture) is a "unet" or a "deeplab", '
                f'not {config.architecture!r}: the others cannot read more than an image.'
            )

    def forward(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return e of (E1), how right the most likely class of each pixel is, as a logit.

        Args:
            images: (B, 3, H, W) in [0, 1]; H and W divisible by 16.
            logits: (B, C, h, w) of any size, enlarged to the images'.

        Returns:
            logits (B, H, W).
        """
        size = tuple(images.shape[-2:])
        logits = enlarge(logits.detach().float(), size)
        maps = torch.cat([entropy(logits), logits], dim=1)  # H and l of (E1)
        if self.boxed:
            right = self.network(images, maps)
        else:
            right = self.network(torch.cat([images, maps], dim=1))
        return enlarge(right.float(), size)[:, 0]  # e of (E1)


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy H of softmax(logits) (B, C, h, w), in nats, 0 .. log C: (B, 1, h, w)."""
    logs = logits.float().log_softmax(dim=1)
    return -(logs.exp() * logs).sum(dim=1, keepdim=True)  # H of (E1)
