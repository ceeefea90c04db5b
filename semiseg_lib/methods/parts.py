"""Pieces that several methods share: cross-entropies, enlarging logits, the moving average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from semiseg_lib.batches.part import Part
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.datasets.labels import VOID


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge logits (B, C, h, w) to (B, C, H, W), bilinearly, pixel areas aligned."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled pixels; 0 if all are void.

    Args:
        logits: (B, C, h, w), enlarged to the masks' size first.
        masks: int64 (B, H, W), 255 = void.
    """
    logits = enlarge(logits, masks.shape[-2:])
    total = nn.functional.cross_entropy(logits, masks, ignore_index=VOID, reduction="sum")
    return total / (masks != VOID).sum().clamp(min=1)


def restrict(logits: Tensor, allowed: Tensor) -> Tensor:
    """Give probability 0 to the classes that an incomplete label does not allow.

    Args:
        logits: (B, C, h, w).
        allowed: bool (B, C, H, W), the allowed classes of each pixel of the image. A position of
            the logits allows what any of its pixels allows; one that allows nothing stays as it is.

    Returns:
        Logits (B, C, h, w), the lowest finite number for what is not allowed: unlike minus
        infinity it can be interpolated.
    """
    possible = nn.functional.adaptive_max_pool2d(allowed.float(), logits.shape[-2:]) > 0
    possible |= ~possible.any(dim=1, keepdim=True)
    return logits.masked_fill(~possible, torch.finfo(logits.dtype).min)


def soft_cross_entropy(logits: Tensor, target: Tensor, inside: Tensor | None = None) -> Tensor:
    """Mean over pixels of -sum_c q_c log p_c, with p = softmax(logits); 0 if none is inside.

    Its gradient in the logits is that of KL(q || p), for the entropy of q is constant. The target
    takes no gradient.

    Args:
        logits: (B, C, h, w).
        target: probabilities q (B, C, h, w).
        inside: bool (B, H, W), False where a view shows padding, which is left out; see
            :func:`inside_at`. None where there is no padding.
    """
    if inside is None:
        return nn.functional.cross_entropy(logits, target.detach())
    kept = inside_at(inside, logits.shape[-2:])
    losses = nn.functional.cross_entropy(logits, target.detach(), reduction="none")
    return losses.where(kept, 0).sum() / kept.sum().clamp(min=1)


@dataclass(frozen=True)
class HardPixels(Configuration):
    """Online hard example mining: which labelled pixels a loss is the mean of.

    Attributes:
        below: pixels whose true class has at most this probability are hard.
        least: if fewer are hard, so many of the hardest are taken, for each image of the batch.
    """

    below: float = 0.7
    least: int = 50_000

    def __post_init__(self) -> None:
        if self.least < 1:
            raise ValueError(f"hard.least is {self.least}; it must be at least 1.")


def hard_cross_entropy(logits: Tensor, masks: Tensor, hard: HardPixels | None) -> Tensor:
    """The mean :func:`cross_entropy` over the hard pixels only; over all of them without ``hard``.

    Args:
        logits: (B, C, h, w), enlarged to the masks' size first.
        masks: int64 (B, H, W), 255 = void.
        hard: which pixels are hard.
    """
    logits = enlarge(logits, masks.shape[-2:])
    return cross_entropy(logits, hard_masks(logits.detach(), masks, hard) if hard else masks)


def hard_masks(logits: Tensor, masks: Tensor, hard: HardPixels) -> Tensor:
    """The masks (B, H, W) with void in place of all pixels that are not hard."""
    losses = nn.functional.cross_entropy(logits, masks, ignore_index=VOID, reduction="none")
    probability = torch.exp(-losses.float()).where(masks != VOID, torch.inf)
    least = min(hard.least * len(masks), probability.numel())
    hardest = probability.flatten().kthvalue(least).values
    return masks.where(probability <= hardest.clamp(min=hard.below), VOID)


def confident_cross_entropy(logits: Tensor, labels: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy of the pixels that have a label, summed and divided by all that are shown.

    So an image that is labelled in few places teaches little.

    Args:
        logits: (B, C, h, w), enlarged to the labels' size first.
        labels: int64 (B, H, W), 255 where there is none. They take no gradient.
        inside: bool (B, H, W), False where a view shows padding, which is left out.
    """
    logits = enlarge(logits, labels.shape[-2:])
    labels = labels.where(inside, VOID)
    total = nn.functional.cross_entropy(logits, labels, ignore_index=VOID, reduction="sum")
    return total / inside.sum().clamp(min=1)


def shown_pixels(part: Part) -> Tensor:
    """Bool (B, H, W), True where a view shows its image: everywhere if there is no padding."""
    if part.inside is not None:
        return part.inside
    return torch.ones_like(part.images[:, 0], dtype=torch.bool)


def inside_at(inside: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixels at head resolution show nothing but the image.

    One that covers even a single pixel of padding counts as padding, for its logits mix both.

    Args:
        inside: bool (B, H, W), False where a view shows padding.
        size: (h, w) of the logits.

    Returns:
        bool (B, h, w).
    """
    padding = (~inside)[:, None].float()
    return nn.functional.adaptive_max_pool2d(padding, size)[:, 0] == 0


class Projector(nn.Sequential):
    """Features (B, D, h, w) to unit vectors (B, width, h, w), whose products are cosines.

    Two 1x1 convolutions with a ReLU between them, then each pixel's vector divided by its length.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, width, kernel_size=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.normalize(super().forward(features), dim=1)


class MovingAverage(AveragedModel):
    """An exponential moving average of a network's weights and batch statistics.

    After update t (from 0) with decay d the average is d_t avg + (1 - d_t) weights, where
    d_t = min(d, 1 - 1/(t + 1)): a plain mean at first, so that the random start is soon forgotten.

    Args:
        network: the network to follow.
        decay: d, between 0 and 1; 0 follows the network exactly.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        @torch.no_grad()
        def average(averaged: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
            weight = 1 - min(decay, 1 - 1 / (int(updates) + 1))
            for old, new in zip(averaged, current, strict=True):
                old.lerp_(new, weight) if old.is_floating_point() else old.copy_(new)

        super().__init__(network, multi_avg_fn=average, use_buffers=True)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> MovingAverage:
        """Nothing changes: an average does not train, so it keeps to its running statistics."""
        return super().train(False)
