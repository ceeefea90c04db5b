"""Iterated pseudo-labelling in equations.

Round r = 1, 2, ... labels with the teacher of weights theta_{r-1} and trains a student from a fresh
start, which is fine-tuned on the masks and becomes the next teacher:

    (E1)  yhat_i = argmax_c p_{i,c}(theta_{r-1}),    k_i = max_c p_{i,c}(theta_{r-1})
    (E2)  ytilde_i = yhat_i if k_i >= tau_{yhat_i}, else void
    (E3)  tau_c = tau_0 for all c: 0 as published, more to keep the confident pixels alone
    (E4)  tau_c = max {v : |{i : yhat_i = c, k_i >= v}| >= rho |{i : yhat_i = c}|}     balanced
    (E5)  theta' = argmin_theta CE_U(ytilde, p(theta)),
          theta_r = argmin_theta CE_F(y, p(theta)) from theta'

=======  =========  =====================================================================
symbol   shape      meaning
=======  =========  =====================================================================
theta    weights    of the network; theta_0 are those of the first teacher
theta'   weights    of the student before it is fine-tuned
p        (C, H, W)  probabilities of an image; logits are enlarged to it
yhat     (H, W)     the teacher's label
k        (H, W)     how sure it is: its confidence
ytilde   (H, W)     the label that is stored, 255 = void
y        (B, H, W)  masks, 255 = void
tau      (C,)       the least confidence that is kept of each class
tau_0    number     one such threshold for all classes
rho      number     the share of each class that is kept
v        number     a level of confidence
CE       number     mean of -log of the label's probability over pixels that are not void
F, U     images     those with masks, and those without
i, c, r  index      pixel, class, round
=======  =========  =====================================================================
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
    """Return tau of (E4), the confidence that a share of each class reaches, float64 (C,).

    A pixel belongs to the class that is most likely there. Confidence is counted in steps of
    1/100,000 and rounded so that at least this share is kept.

    Args:
        probabilities: of every image, (C, H, W).
        num_classes: C.
        share: rho, in [0, 1].
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
    return (enough.sum(dim=1) - 1).double() / LEVELS  # (E4)


def class_thresholds(
    selection: Selection, probabilities: Iterable[Tensor], num_classes: int
) -> Tensor:
    """Return tau, the least confidence that is kept of each class, float64 (C,), (E3) or (E4).

    Args:
        selection: which pixels are kept.
        probabilities: of every unlabelled image, (C, H, W); only ``balanced`` reads them.
        num_classes: C.
    """
    if selection.keep == "balanced":
        return balanced_thresholds(probabilities, num_classes, selection.share)
    least = selection.threshold if selection.keep == "confident" else 0.0
    return torch.full((num_classes,), least, dtype=torch.float64)  # (E3)


def select(probabilities: Tensor, thresholds: Tensor) -> np.ndarray:
    """Return ytilde of (E2), the pseudo-label of one image.

    Args:
        probabilities: the teacher's, (C, H, W).
        thresholds: tau, the least confidence that is kept of each class, (C,).

    Returns:
        uint8 (H, W) class ids, void where the teacher is less sure than its class asks for.
    """
    confidence, labels = probabilities.max(dim=0)  # k and yhat of (E1)
    kept = confidence.double() >= thresholds[labels]
    return labels.where(kept, VOID).to(torch.uint8).numpy()  # (E2)


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
