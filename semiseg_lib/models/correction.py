"""The convolutional self-correction: a small network that learns whom to trust, and where."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvCorrection(nn.Module):
    """Logits of q from the logits of primary and ancillary: 3x3 convolution, ReLU, 3x3 convolution.

    A public reproduction reads probabilities and ends in batch normalisation and a ReLU. Here
    logits go in and logits come out. Probabilities near 0 and 1 hide how sure a network is. Behind
    a final ReLU no logit can fall below 0, and those that are stuck there take no gradient.

    It starts as the mean of both logits (linear self-correction with alpha = 1): that is a sensible
    label before anything is learnt, where a random start would teach noise. The mean m passes the
    ReLU as ReLU(m) - ReLU(-m). Hidden channels beyond these 2 C start at random and unread.

    Args:
        num_classes: C, background included.
        width: hidden channels, at least 2 C; the public reproduction has 128.

    Raises:
        ValueError: ``width`` is below 2 C.
    """

    def __init__(self, num_classes: int, width: int = 128) -> None:
        super().__init__()
        if width < 2 * num_classes:
            raise ValueError(
                f"width is {width}; the correction of {num_classes} classes needs at least "
                f"{2 * num_classes} hidden channels. Set method.width to that or more."
            )
        self.hidden = nn.Conv2d(2 * num_classes, width, kernel_size=3, padding=1)
        self.head = nn.Conv2d(width, num_classes, kernel_size=3, padding=1)
        self._start_at_the_mean(num_classes)

    def forward(self, logits: Tensor, logits_ancillary: Tensor) -> Tensor:
        """The logits of q (B, C, h, w).

        Args:
            logits: l, the primary's, (B, C, h, w); not probabilities.
            logits_ancillary: l_anc, of the same shape.

        Raises:
            ValueError: the shapes differ.
        """
        if logits.shape != logits_ancillary.shape:
            raise ValueError(
                f"logits {tuple(logits.shape)} and ancillary logits "
                f"{tuple(logits_ancillary.shape)} differ in shape: were they stored for another "
                "model or other classes?"
            )
        both = torch.cat([logits, logits_ancillary], dim=1)
        return self.head(self.hidden(both).relu())

    @torch.no_grad()
    def _start_at_the_mean(self, num_classes: int) -> None:
        self.hidden.weight[: 2 * num_classes] = 0
        self.hidden.bias[: 2 * num_classes] = 0
        self.head.weight.zero_()
        self.head.bias.zero_()
        for label in range(num_classes):
            for channel, sign in ((label, 1), (num_classes + label, -1)):
                self.hidden.weight[channel, label, 1, 1] = 0.5 * sign
                self.hidden.weight[channel, num_classes + label, 1, 1] = 0.5 * sign
                self.head.weight[label, channel, 1, 1] = sign
