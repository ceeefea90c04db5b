"""Losses that several methods share, their resolutions and pixels, and what boxes allow there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Part
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.options import HardPixels


def enlarge(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Return logits (B, C, h, w) enlarged to (B, C, H, W), bilinearly, pixel areas aligned.

    Args:
        logits: (B, C, h, w).
        size: (H, W); logits of this size are returned as they are.
    """
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


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


def most_likely(scores: Tensor) -> Tensor:
    """Return the class with the largest score, int64 (B, H, W), of scores (B, C, H, W).

    The first one where several are largest. It takes no gradient.
    """
    return scores.detach().max(dim=1).indices  # a third of the time of argmax(dim=1)


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean cross-entropy over the labelled pixels; 0 if all are void.

    Args:
        logits: (B, C, h, w), enlarged to the masks' size first.
        masks: int64 (B, H, W), 255 = void.
    """
    logits = enlarge(logits, masks.shape[-2:])
    total = nn.functional.cross_entropy(logits, masks, ignore_index=VOID, reduction="sum")
    return total / (masks != VOID).sum().clamp(min=1)


def soft_cross_entropy(logits: Tensor, target: Tensor, inside: Tensor | None = None) -> Tensor:
    """Return the mean over pixels of -sum_c q_c log p_c, p = softmax(logits); 0 if none is inside.

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


def hard_cross_entropy(logits: Tensor, masks: Tensor, hard: HardPixels | None) -> Tensor:
    """Return the mean cross-entropy over the hard pixels only, or over all without ``hard``.

    Args:
        logits: (B, C, h, w), enlarged to the masks' size first.
        masks: int64 (B, H, W), 255 = void.
        hard: which pixels are hard.
    """
    logits = enlarge(logits, masks.shape[-2:])
    return cross_entropy(logits, hard_masks(logits.detach(), masks, hard) if hard else masks)


def hard_masks(logits: Tensor, masks: Tensor, hard: HardPixels) -> Tensor:
    """Return the masks, int64 (B, H, W), with void in place of all pixels that are not hard.

    Args:
        logits: (B, C, H, W).
        masks: int64 (B, H, W), 255 = void.
        hard: which pixels are hard.
    """
    losses = nn.functional.cross_entropy(logits, masks, ignore_index=VOID, reduction="none")
    probability = torch.exp(-losses.float()).where(masks != VOID, torch.inf)
    least = min(hard.least * len(masks), probability.numel())
    hardest = probability.flatten().kthvalue(least).values
    return masks.where(probability <= hardest.clamp(min=hard.below), VOID)


def confident_cross_entropy(logits: Tensor, labels: Tensor, inside: Tensor) -> Tensor:
    """Return the summed cross-entropy of the pixels with a label, divided by all that are shown.

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
    """Return where a view shows its image, bool (B, H, W): everywhere if there is no padding.

    Args:
        part: the views.
    """
    if part.inside is not None:
        return part.inside
    return torch.ones_like(part.images[:, 0], dtype=torch.bool)


def inside_at(inside: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return which pixels at head resolution show nothing but the image, bool (B, h, w).

    A pixel that covers even a single pixel of padding counts as padding: its logits mix both.

    Args:
        inside: bool (B, H, W), False where a view shows padding.
        size: (h, w) of the logits.
    """
    padding = (~inside)[:, None].float()
    return nn.functional.adaptive_max_pool2d(padding, size)[:, 0] == 0
