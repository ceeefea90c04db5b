"""Box maps as attention (Self-Correcting Networks, Ibrahim et al. 2020, the ancillary model)."""

from __future__ import annotations

from torch import Tensor, nn


class BoxAttention(nn.Module):
    """Multiply features by ``sigmoid(convolution(box maps))``.

    The box maps are resized to the features by area, so that a map's value is the share of the
    cell that lies in a box and small boxes do not vanish. A 3x3 convolution makes one attention
    map for each feature channel. The pretrained encoder lies before this module and sees
    images only.

    The bias starts at 0 and the weights small, so attention starts near sigmoid(0) = 1/2. That
    common factor costs nothing where the features next pass a convolution without bias and a
    batch normalisation, as both attended features of :class:`semiseg_lib.models.deeplab.DeepLab`
    do: it cancels. And at 1/2 the sigmoid's slope is greatest.

    Args:
        box_channels: channels of the box maps: one a class, background included.
        channels: channels of the features.
    """

    def __init__(self, box_channels: int, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(box_channels, channels, 3, padding=1)
        nn.init.zeros_(self.convolution.bias)

    def forward(self, features: Tensor, box_maps: Tensor) -> Tensor:
        """Attended features.

        Args:
            features: (B, channels, h, w).
            box_maps: (B, box_channels, H, W) of zeros and ones, at any resolution.
        """
        resized = nn.functional.interpolate(box_maps, size=features.shape[-2:], mode="area")
        return features * self.convolution(resized).sigmoid()


def check_box_maps(box_maps: Tensor | None, box_channels: int) -> None:
    """ValueError where box maps are missing, or given to a network that reads images only."""
    if box_channels == 0 and box_maps is not None:
        raise ValueError("this network reads images only; leave the box maps out")
    if box_channels and box_maps is None:
        raise ValueError(f"this network also reads {box_channels} box maps; pass box_maps")
