"""Iterated pseudo-labelling in equations.

    (E1)  y^_i = argmax_c p_i[c],  k_i = max_c p_i[c]
    (E2)  y~_i = y^_i if k_i >= theta[y^_i], else void
    (E3)  theta[c] = 0 for every pixel, as published; one threshold for the confident ones
    (E4)  theta[c] = the largest level that a share of the pixels with y^_i = c reach (balanced)
    (E5)  L = CE(f(x), y): first with y~ as masks of unlabelled images, then with masks alone

A round labels with (E1) to (E4) and trains a fresh student on that; it is fine-tuned on the masks
and becomes the next teacher.

Symbols:
    p      (C, H, W)  the teacher's probabilities on an image
    y^, k  (H, W)     its label and how sure it is
    y~     (H, W)     the label that is stored, 255 = void
    theta  (C,)       the least confidence that is kept of each class
    x, y              images (B, 3, H, W) in [0, 1] and their masks (B, H, W)
    f                 the student; its logits are enlarged to the image
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.losses import cross_entropy
from semiseg_lib.methods.pseudo_label import PseudoLabelConfig, Selection

LEVELS = 100_000  # steps of confidence that the thresholds of classes are read off


def balanced_thresholds(
    probabilities: Iterable[Tensor], num_classes: int, share: float
) -> Tensor:
    """Return theta of (E4), the confidence that a share of each class reaches, float64 (C,).

    A pixel belongs to the class that is most likely there. Confidence is counted in steps of
    1/100,000 and rounded so that at least this share is kept.

    Args:
        probabilities: of every image, (C, H, W).
        num_classes: C.
        share: in [0, 1].
    """
    counts = torch.zeros(num_classes, LEVELS + 1, dtype=torch.int64)
    for one in probabilities:
        confidence, labels = one.max(dim=0)
        levels = (confidence.double() * LEVELS).floor().long()
        counts += torch.bincount(
            (labels * (LEVELS + 1) + levels).flatten(), minlength=counts.numel()
        ).view_as(counts)
    reaching = counts.flip(1).cumsum(dim=1).flip(1)  # pixels of at least this confidence
    enough = reaching >= share * reaching[:, :1].double()
    return (enough.sum(dim=1) - 1).double() / LEVELS


def class_thresholds(
    selection: Selection, probabilities: Iterable[Tensor], num_classes: int
) -> Tensor:
    """Return the least confidence that is kept of each class, float64 (C,), (E3) or (E4).

    Args:
        selection: which pixels are kept.
        probabilities: of every unlabelled image, (C, H, W); only ``balanced`` reads them.
        num_classes: C.
    """
    if selection.keep == "balanced":
        return balanced_thresholds(probabilities, num_classes, selection.share)
    least = selection.threshold if selection.keep == "confident" else 0.0
    return torch.full((num_classes,), least, dtype=torch.float64)


def select(probabilities: Tensor, thresholds: Tensor) -> np.ndarray:
    """Return the pseudo-label of one image, (E1) and (E2).

    Args:
        probabilities: the teacher's, (C, H, W).
        thresholds: the least confidence that is kept of each class, (C,).

    Returns:
        uint8 (H, W) class ids, void where the teacher is less sure than its class asks for.
    """
    confidence, labels = probabilities.max(dim=0)
    kept = confidence.double() >= thresholds[labels]
    return labels.where(kept, VOID).to(torch.uint8).numpy()


class PseudoLabel(AveragedMethod):
    """A student that learns a teacher's masks, later real ones, (E5); see the equations above.

    Its images come as the labelled part of a batch in either stage: what tells the stages apart
    is who labelled them.

    Args:
        config: the options.
        network: the student, ``network(images) -> logits (B, C, h, w)``.
    """

    uses_all_weights = True

    def __init__(self, config: PseudoLabelConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = self.network(batch.labelled.images)
        return {"labelled": cross_entropy(logits, batch.labelled.masks)}  # (E5)
