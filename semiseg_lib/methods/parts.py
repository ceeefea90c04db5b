"""Pieces that several methods share: cross-entropies, enlarging logits, the moving average."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

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


def inside_at(inside: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixels at head resolution show nothing but the picture.

    One that covers even a single pixel of padding counts as padding, for its logits mix both.

    Args:
        inside: bool (B, H, W), False where a view shows padding.
        size: (h, w) of the logits.

    Returns:
        bool (B, h, w).
    """
    padding = (~inside)[:, None].float()
    return nn.functional.adaptive_max_pool2d(padding, size)[:, 0] == 0


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
