"""A vision transformer, such as DINOv2 (Oquab et al. 2023), with a small segmentation head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from semiseg_lib.models.box_maps import Attention, check_attention
from semiseg_lib.models.deeplab import separable_convolution
from semiseg_lib.models.encoders import create, statistics
from semiseg_lib.models.options import ModelConfig
from semiseg_lib.models.segmenter import Segmenter


class ViTEncoder(nn.Module):
    """A transformer from timm that returns its last patch features, after the final norm.

    Images of any size: the position embedding is interpolated, and images are padded at the
    right and at the bottom to whole patches.

    Args:
        config: ``encoder`` and ``weights`` of a ModelConfig.

    Attributes:
        patch: side of a patch in pixels.
        channels: channels of the features.

    Raises:
        ValueError: the encoder is not a plain vision transformer. Otherwise as
            :func:`~semiseg_lib.models.encoders.create`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if not config.encoder.startswith(("vit_", "test_vit")):
            raise ValueError(
                f'architecture "vit" needs a vision transformer of timm, such as '
                f'vit_small_patch14_dinov2.lvd142m, not {config.encoder!r}; '
                'for a convolutional encoder take architecture "deeplab"'
            )
        self.network = create(config, num_classes=0, dynamic_img_size=True, dynamic_img_pad=True)
        self.normalise = statistics(config.encoder)
        self.patch: int = self.network.patch_embed.patch_size[0]
        self.channels: int = self.network.embed_dim

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, D, ceil(H/patch), ceil(W/patch)) of images (B, 3, H, W) in [0, 1]."""
        return self.network.forward_intermediates(
            self.normalise(images), indices=1, norm=True, intermediates_only=True
        )[0]


class ViTSegmenter(Segmenter):
    """Patch features, narrowed, enlarged to stride 4, two separable convolutions, a classifier.

    With box maps, the enlarged features pass one ``attention``: there is no second scale to attend
    to. The sides of images must be multiples of 4.

    Args:
        encoder: images (B, 3, H, W) to patch features.
        num_classes: C, background included.
        width: channels of the head.
        box_channels: channels of the box maps that it also reads; 0 for images only.
        encoder_lr: learning rate of the encoder relative to the rest.
        attention: ``attention(box_channels, channels)`` makes what reads the box maps.
    """

    encoder_parts = ("encoder", "project")

    def __init__(
        self,
        encoder: ViTEncoder,
        num_classes: int,
        width: int = 256,
        box_channels: int = 0,
        encoder_lr: float = 1.0,
        attention: Attention | None = None,
    ) -> None:
        super().__init__(encoder, encoder_lr, box_channels)
        self.project = nn.Sequential(
            nn.Conv2d(encoder.channels, width, kernel_size=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.decoder = nn.Sequential(
            separable_convolution(width, width), separable_convolution(width, width)
        )
        self.feature_channels = width
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)
        if box_channels:
            self.attend = check_attention(attention)(box_channels, width)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's features, narrowed and enlarged to stride 4.

        Raises:
            ValueError: H or W is not divisible by 4.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"images are {height}x{width}; pad them to multiples of 4")
        # The scale, not the size, is given: the grid may reach beyond the image, which is cut.
        features = nn.functional.interpolate(
            self.project(self.encoder(images)), scale_factor=self.encoder.patch / self.stride,
            mode="bilinear", align_corners=False,
        )
        return [features[..., : height // self.stride, : width // self.stride]]

    def decode_features(
        self, features: Sequence[Tensor], box_maps: Tensor | None = None
    ) -> Tensor:
        """Return the features at stride 4, (B, feature_channels, H/4, W/4)."""
        (features,) = features
        if box_maps is not None:
            features = self.attend(features, box_maps)
        return self.decoder(features)
