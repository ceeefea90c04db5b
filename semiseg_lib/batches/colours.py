"""Colour transforms for a batch of images, with one factor per image.

Each function equals its namesake in torchvision's ``transforms.v2.functional``, applied per image
with that image's factor.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in grey (ITU-R BT.601)."""


def grey(images: Tensor) -> Tensor:
    """Return the luma (B, 1, H, W) of images (B, 3, H, W)."""
    red, green, blue = images.unbind(dim=1)
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(1)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each image (B, 3, H, W) in [0, 1] by its factor (B,)."""
    return (images * _per_image(factors)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Blend each image (B, 3, H, W) in [0, 1] with its mean grey value, by its factor (B,)."""
    red, green, blue = images.mean(dim=(2, 3)).unbind(dim=1)
    mean = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return (images * _per_image(factors)).add_(_per_image((1 - factors) * mean)).clamp_(0, 1)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Blend each image (B, 3, H, W) in [0, 1] with its grey version, by its factor (B,)."""
    return torch.lerp(grey(images), images, _per_image(factors)).clamp_(0, 1)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue of each image (B, 3, H, W) in [0, 1] by a fraction (B,) of a full turn.

    Value and chroma are unchanged. With hue h in sixths of a turn, a channel is
    ``value - chroma * clamp(min(k, 4 - k), 0, 1)`` for k = (n + h) mod 6 and n = 5, 3, 1 for red,
    green and blue.
    """
    red, green, blue = images.unbind(dim=1)
    value, chroma = images.amax(dim=1), images.amax(dim=1) - images.amin(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red, (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = hue + 6 * turns.to(images).view(-1, 1, 1)
    shifted = torch.stack([hue + n for n in (5, 3, 1)], dim=1).remainder_(6)
    share = torch.minimum(shifted, 4 - shifted).clamp_(0, 1)
    return value.unsqueeze(1) - chroma.unsqueeze(1) * share


def _per_image(factors: Tensor) -> Tensor:
    return factors.view(-1, 1, 1, 1)
