"""SwiftNet, single scale (Orsic et al. 2019): a light encoder, a pyramid, a slim way back up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.models.encoders import create, levels, statistics
from semiseg_lib.models.options import ModelConfig
from semiseg_lib.models.segmenter import Segmenter

make_torchvision_importable()

from timm.models.resnet import BasicBlock, Bottleneck  # noqa: E402

STRIDES = (4, 8, 16, 32)
GRID_ROWS = (8, 4, 2)


class SkipEncoder(nn.Module):
    """A convolutional network cut down to its features at strides 4, 8, 16 and 32.

    A ResNet gives the sums at the end of its stages before their last ReLU, as the paper describes;
    what goes on to the next stage is rectified, so the network's own path is unchanged. (In the
    official code that ReLU works in place and so in effect rectifies the skips, too.)

    Any other encoder gives the features that timm chooses. For tf_efficientnet_lite0 these are the
    outputs of the last block of each resolution. Those blocks end without an activation, so these
    features, too, have both signs; the next block reads them as they are.

    Args:
        config: ``encoder`` and ``weights`` of a ModelConfig.

    Attributes:
        channels: channels of the four features.

    Raises:
        ValueError: timm does not know the encoder, or it has no features at these strides.
        FileNotFoundError, RuntimeError: see :func:`semiseg_lib.models.encoders.create`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.network = create(
            config, features_only=True, output_stride=STRIDES[-1],
            out_indices=levels(config.encoder, *STRIDES),
        )
        self.normalise = statistics(config.encoder)
        self.channels: tuple[int, ...] = tuple(self.network.feature_info.channels())
        self.before_activation = _drop_last_activations(self.network)

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """Return the four features of images (B, 3, H, W) in [0, 1], the largest first."""
        features = self.normalise(images)
        if not self.before_activation:
            return self.network(features)
        skips = []
        for name, module in self.network.named_children():
            features = module(features)
            if name.startswith("layer"):
                skips.append(features)
                features = features.relu()  # not in place: the skip is read again
        return skips


def _drop_last_activations(network: nn.Module) -> bool:
    """Remove the last ReLU of each stage of a ResNet; return False for another network."""
    blocks = [stage[-1] for name, stage in network.named_children() if name.startswith("layer")]
    last = {BasicBlock: "act2", Bottleneck: "act3"}
    if len(blocks) != len(STRIDES) or not all(
        type(block) in last and isinstance(getattr(block, last[type(block)]), nn.ReLU)
        for block in blocks
    ):
        return False
    for block in blocks:
        setattr(block, last[type(block)], nn.Identity())
    return True


class Pyramid(nn.Module):
    """Spatial pyramid pooling: a narrowed feature beside its means over three coarse grids.

    The grids have 8, 4 and 2 rows, and as many columns as make their cells about square. Each grid
    is narrowed to a third of ``width`` and enlarged again; a 1x1 convolution joins all.

    Args:
        channels: channels of the feature.
        width: channels of the result.
        momentum: of the running statistics of its batch norms.
    """

    def __init__(self, channels: int, width: int, momentum: float) -> None:
        super().__init__()
        narrow = width // len(GRID_ROWS)
        self.project = norm_relu_convolution(channels, width, momentum=momentum)
        self.levels = nn.ModuleList(
            norm_relu_convolution(width, narrow, momentum=momentum) for _ in GRID_ROWS
        )
        self.fuse = norm_relu_convolution(
            width + narrow * len(GRID_ROWS), width, momentum=momentum
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, width, h, w) of features (B, channels, h, w)."""
        features = self.project(features)
        size = features.shape[-2:]
        parts = [features] + [
            resize(level(pool(features, grid)), size)
            for level, grid in zip(self.levels, grids(*size), strict=True)
        ]
        return self.fuse(torch.cat(parts, dim=1))


class UpBlock(nn.Module):
    """Sum of the enlarged deeper feature and the projected skip, and a 3x3 convolution.

    Args:
        skip: channels of the encoder's feature.
        width: channels of the deeper feature and of the result.
    """

    def __init__(self, skip: int, width: int) -> None:
        super().__init__()
        self.lateral = norm_relu_convolution(skip, width)
        self.blend = norm_relu_convolution(width, width, size=3)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Return (B, width, H, W) of features (B, width, h, w) and a skip (B, skip, H, W)."""
        return self.blend(resize(features, skip.shape[-2:]) + self.lateral(skip))


class SwiftNet(Segmenter):
    """SwiftNet, the single-scale model, on any convolutional encoder.

    The deepest feature passes the pyramid; three up-blocks add the skips at strides 16, 8 and 4.
    Every convolution follows its batch norm and ReLU and has no bias, except the classifier's. If a
    side of the image is not a multiple of 4, some encoders leave the remainder out of the logits.

    Where it differs: the pyramid's running statistics follow a batch with momentum 0.1. The
    published 0.005 is for long trainings: after 100 steps 0.995 ** 100 = 61 % of what they start
    from would be left, and the deployed model would normalise with statistics of no data.

    Args:
        encoder: images (B, 3, H, W) to features at strides 4, 8, 16 and 32.
        num_classes: C, background included.
        width: channels of pyramid and up-blocks, at least 3.
        box_channels: must be 0: this network reads images only.
        encoder_lr: learning rate of the encoder relative to the rest.
        pyramid_momentum: of the running statistics of the pyramid's batch norms, in (0, 1].

    Raises:
        ValueError: box channels are asked for; the width or the momentum is out of its range.
    """

    def __init__(
        self,
        encoder: SkipEncoder,
        num_classes: int,
        width: int = 128,
        box_channels: int = 0,
        encoder_lr: float = 1.0,
        pyramid_momentum: float = 0.1,
    ) -> None:
        super().__init__(encoder, encoder_lr)
        if box_channels:
            raise ValueError(
                'architecture "swiftnet" reads images only, no box maps; for a method that uses '
                'boxes take "deeplab", "vit" or "unet"'
            )
        if width < len(GRID_ROWS):
            raise ValueError(f"SwiftNet's width is {width}; it must be at least {len(GRID_ROWS)}")
        if not 0 < pyramid_momentum <= 1:
            raise ValueError(f"pyramid_momentum is {pyramid_momentum}; it must be in (0, 1]")
        *skips, deepest = encoder.channels
        self.pyramid = Pyramid(deepest, width, pyramid_momentum)
        self.up = nn.ModuleList(UpBlock(channels, width) for channels in reversed(skips))
        self.feature_channels = width
        self.head = norm_relu_convolution(width, num_classes, bias=True)

    def decode_features(self, features: Sequence[Tensor], box_maps: None = None) -> Tensor:
        """Return the features at stride 4, (B, feature_channels, h, w).

        Args:
            features: of the encoder's stages.
            box_maps: None; this network takes no boxes.
        """
        *skips, deepest = features
        features = self.pyramid(deepest)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            features = block(features, skip)
        return features


def norm_relu_convolution(
    channels_in: int, channels_out: int, size: int = 1, bias: bool = False, momentum: float = 0.1
) -> nn.Sequential:
    """Return batch norm, ReLU and a ``size`` x ``size`` convolution, in this order.

    Args:
        channels_in, channels_out: C of what is read and returned.
        size: the kernel's side in pixels.
        bias: the convolution has one.
        momentum: of the batch norm's running statistics.
    """
    return nn.Sequential(
        nn.BatchNorm2d(channels_in, momentum=momentum),
        nn.ReLU(inplace=True),  # on the norm's result, which nothing else reads
        nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=bias),
    )


def grids(height: int, width: int) -> list[tuple[int, int]]:
    """Return (rows, columns) of the pyramid's grids for a feature (height, width)."""
    return [(rows, max(1, round(width / height * rows))) for rows in GRID_ROWS]


def pool(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the means of features (B, C, h, w) over the cells of a grid, (B, C, rows, columns).

    The cells are those of ``adaptive_avg_pool2d``. That function's gradient is not repeatable bit
    for bit on CUDA, and older releases refuse sizes that do not divide on MPS; products with two
    small matrices work everywhere.
    """
    height, width = features.shape[-2:]
    rows, columns = _shares(grid[0], height, features), _shares(grid[1], width, features)
    return rows @ features @ columns.T


def _shares(cells: int, side: int, like: Tensor) -> Tensor:
    """Return (cells, side): row i has 1/n at each of the n places that cell i covers."""
    place = torch.arange(side, device=like.device)
    cell = torch.arange(cells, device=like.device)[:, None]
    first = cell * side // cells
    after = -(-(cell + 1) * side // cells)
    inside = ((place >= first) & (place < after)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize features (B, C, h, w) to (B, C) + size, bilinearly, with pixel areas aligned."""
    return nn.functional.interpolate(features, size=size, mode="bilinear", align_corners=False)
