"""Base class of the networks with an encoder from timm: an encoder, features, and a head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from semiseg_lib.models.box_maps import check_box_maps


class Segmenter(nn.Module):
    """A network that goes from images to logits in three steps.

    A subclass sets :attr:`head` and defines :meth:`decode_features`.

    Args:
        encoder: from images to features.
        encoder_lr: learning rate of the encoder relative to the rest.
        box_channels: channels of the box maps that it also reads; 0 for images only.
    """

    stride = 4
    encoder_parts = ("encoder",)

    def __init__(self, encoder: nn.Module, encoder_lr: float, box_channels: int = 0) -> None:
        super().__init__()
        self.box_channels = box_channels
        self.encoder_lr = encoder_lr
        self.encoder = encoder

    def forward(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        """Return the logits of every class at a quarter of the image's resolution.

        Args:
            images: (B, 3, H, W) in [0, 1]; the encoder normalises a copy of them.
            box_maps: (B, box_channels, H, W) of zeros and ones; only where the network reads them.

        Returns:
            logits (B, C, ceil(H/4), ceil(W/4)). See the class for the sizes that it takes.

        Raises:
            ValueError: box maps missing, or given to a network that reads images only.
        """
        check_box_maps(box_maps, self.box_channels)
        return self.decode(self.encode(images), box_maps)

    def encode(self, images: Tensor) -> Sequence[Tensor]:
        """Return the encoder's features, the largest first."""
        return self.encoder(images)

    def decode(self, features: Sequence[Tensor], box_maps: Tensor | None = None) -> Tensor:
        """Return the logits that follow from the features of :meth:`encode`."""
        return self.head(self.decode_features(features, box_maps))

    def decode_features(
        self, features: Sequence[Tensor], box_maps: Tensor | None = None
    ) -> Tensor:
        """Return what :attr:`head` turns into logits: (B, feature_channels, h, w) at stride 4."""
        raise NotImplementedError
