"""Iterated pseudo-labelling: a teacher labels, a fresh student learns, and teaches in its turn.

As published for SwiftNet on CamVid (a master's thesis with public code): every round labels all
unlabelled images, every pixel of them; a new student with ImageNet weights learns these labels
alone, is then fine-tuned on the labelled images, and becomes the next teacher. Two ways to select
pixels are here as options: a confidence threshold, and a share of each class (class-balanced
self-training, Zou et al. 2018).

The rounds themselves are in :mod:`semiseg_lib.experiments.pseudo_labelling`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.parts import cross_entropy

LEVELS = 100_000  # steps of confidence that the thresholds of classes are read off


@dataclass(frozen=True)
class Selection(Configuration):
    """Which pixels of a teacher's label are kept.

    Attributes:
        keep: ``all`` of them, as published; the ``confident`` ones; or of each class the same
            share, its most confident pixels (``balanced``).
        threshold: for ``confident``: the least probability of the chosen class.
        share: for ``balanced``: how much of each class is kept, 0 .. 1.
    """

    keep: Literal["all", "confident", "balanced"] = "all"
    threshold: float = 0.9
    share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("threshold", "share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"selection.{name} is {getattr(self, name)}; it must be 0 .. 1.")

    def thresholds(self, probabilities: Iterable[Tensor], num_classes: int) -> Tensor:
        """The least confidence that is kept of each class, float64 (C,).

        Args:
            probabilities: of every unlabelled image, (C, H, W); only ``balanced`` reads them.
            num_classes: C.
        """
        if self.keep == "balanced":
            return balanced_thresholds(probabilities, num_classes, self.share)
        least = self.threshold if self.keep == "confident" else 0.0
        return torch.full((num_classes,), least, dtype=torch.float64)


def balanced_thresholds(
    probabilities: Iterable[Tensor], num_classes: int, share: float
) -> Tensor:
    """For each class the confidence that ``share`` of its pixels reach, float64 (C,).

    A pixel belongs to the class that is most likely there. Confidence is counted in steps of
    1/100,000 and rounded so that at least this share is kept.

    Args:
        probabilities: of every image, (C, H, W).
        num_classes: C.
        share: 0 .. 1.
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


def select(probabilities: Tensor, thresholds: Tensor) -> np.ndarray:
    """The pseudo-label of one image.

    Args:
        probabilities: the teacher's, (C, H, W).
        thresholds: the least confidence that is kept of each class, (C,).

    Returns:
        uint8 (H, W) class ids, void where the teacher is less sure than its class asks for.
    """
    confidence, labels = probabilities.max(dim=0)
    kept = confidence.double() >= thresholds[labels]
    return labels.where(kept, VOID).to(torch.uint8).numpy()


@dataclass(frozen=True)
class PseudoLabelConfig(Configuration):
    """Options of a student.

    Attributes:
        stage: ``pretrain`` on pseudo-labels, or ``fine-tune`` on the masks.
        round: counted from 1.
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["pseudo-label"] = "pseudo-label"
    stage: Literal["pretrain", "fine-tune"] = "pretrain"
    round: int = 1
    ema_decay: float = 0.99


class PseudoLabel(AveragedMethod):
    """A student: cross-entropy on images whose masks a teacher wrote, later on real masks.

    Its images come as the labelled part of a batch in either stage: what tells the stages apart
    is who labelled them.
    """

    uses_all_weights = True

    def __init__(self, config: PseudoLabelConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = self.network(batch.labelled.images)
        return {"labelled": cross_entropy(logits, batch.labelled.masks)}
