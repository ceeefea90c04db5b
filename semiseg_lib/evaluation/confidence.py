"""Coverage and accuracy of a model's pixels above a confidence threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.metrics import share
from semiseg_lib.methods.losses import enlarge


@dataclass(frozen=True)
class ConfidenceCounts:
    """Pixel counts by predicted class and confidence, without pixels whose truth is void.

    Bin ``i`` holds the confidences in [i / bins, (i + 1) / bins), the last one also 1. So every
    multiple of 1 / bins is a threshold at which the counts are exact; others raise ValueError.

    Attributes:
        total: int64 (C, bins), pixels predicted as c with a confidence in the bin.
        right: int64 (C, bins), those of them whose true class is c.
        classes: C names.
    """

    total: np.ndarray
    right: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = self.total.shape
        if self.right.shape != shape or len(shape) != 2 or shape[0] != len(self.classes):
            raise ValueError(
                f"total and right must both be ({len(self.classes)}, bins), one row per class; got "
                f"{shape} and {self.right.shape}"
            )
        if (self.right < 0).any() or (self.right > self.total).any():
            raise ValueError("right must lie between 0 and total in every bin")

    @property
    def bins(self) -> int:
        """Return the number of equal bins between 0 and 1."""
        return self.total.shape[1]

    def is_exact(self, threshold: float) -> bool:
        """Return whether the threshold, in [0, 1), is the lower edge of a bin."""
        edge = threshold * self.bins
        return 0 <= threshold < 1 and abs(edge - round(edge)) < 1e-6

    def kept(self, threshold: float) -> np.ndarray:
        """Return the fraction of pixels predicted as c whose confidence is >= the threshold.

        Returns:
            float64 (C,) in [0, 1]; NaN for a class that is never predicted.

        Raises:
            ValueError: the threshold is not an edge of the bins.
        """
        return share(self._from(threshold, self.total), self.total.sum(axis=1))

    def accuracy(self, threshold: float) -> np.ndarray:
        """Return the precision of the kept pixels predicted as c.

        Returns:
            float64 (C,) in [0, 1]; NaN where nothing is kept.

        Raises:
            ValueError: the threshold is not an edge of the bins.
        """
        return share(self._from(threshold, self.right), self._from(threshold, self.total))

    def overall_kept(self, threshold: float) -> float:
        """Return the kept fraction of the pixels of all classes; NaN if there are none."""
        return float(share(self._from(threshold, self.total).sum(), self.total.sum()))

    def overall_accuracy(self, threshold: float) -> float:
        """Return the accuracy of all kept pixels; NaN if nothing is kept."""
        kept = self._from(threshold, self.total).sum()
        return float(share(self._from(threshold, self.right).sum(), kept))

    def rows(self, threshold: float) -> list[dict[str, float | int | str]]:
        """Return one row per class and a last one for all classes, in percent, for tables."""
        names = (*self.classes, "all")
        pixels = [*self.total.sum(axis=1), self.total.sum()]
        kept = [*self.kept(threshold), self.overall_kept(threshold)]
        accuracy = [*self.accuracy(threshold), self.overall_accuracy(threshold)]
        return [
            {"class": name, "pixels": int(count), "kept": 100 * float(share),
             "accuracy of the kept": 100 * float(right)}
            for name, count, share, right in zip(names, pixels, kept, accuracy, strict=True)
        ]

    def _from(self, threshold: float, counts: np.ndarray) -> np.ndarray:
        """Return the pixels of each class in the bins from the threshold upwards, int64 (C,)."""
        if not self.is_exact(threshold):
            raise ValueError(
                f"with {self.bins} bins the counts are exact at multiples of {1 / self.bins:g} "
                f"in [0, 1); got {threshold}. Count with other bins."
            )
        return counts[:, round(threshold * self.bins):].sum(axis=1)


def confidence_counts(
    logits: Iterable[Tensor], truth: Iterable[np.ndarray | Tensor], classes: Sequence[str],
    bins: int = 200,
) -> ConfidenceCounts:
    """Count the pixels of many images, one image in memory at a time.

    Args:
        logits: float (C, h, w) per image, any floating type; upsampled to the mask's size.
        truth: uint8 (H, W) per image, 255 = void.
        classes: C names.
        bins: equal bins between 0 and 1. A threshold must be a multiple of 1 / bins.

    Raises:
        ValueError: fewer masks than logits or the other way round, logits of another number of
            classes or not finite, a mask with an unknown id, or no bins.
    """
    if bins < 1:
        raise ValueError(f"at least one bin is needed, got {bins}")
    count = len(classes)
    total, right = np.zeros((2, count * bins), dtype=np.int64)
    edges = np.arange(bins + 1) / bins
    for number, (one_logits, one_truth) in enumerate(zip(logits, truth, strict=True)):
        mask = _checked_mask(np.asarray(one_truth), count, number)
        if one_logits.ndim != 3 or len(one_logits) != count:
            raise ValueError(f"logits of image {number} must be ({count}, h, w), one map per "
                             f"class; got {tuple(one_logits.shape)}")
        label, confidence = confident_labels(one_logits, mask.shape)
        level = np.searchsorted(edges, confidence, side="right") - 1
        cell = bins * label.astype(np.int64) + level.clip(max=bins - 1)
        total += np.bincount(cell[mask != VOID], minlength=count * bins)
        right += np.bincount(cell[mask == label], minlength=count * bins)
    return ConfidenceCounts(total.reshape(count, bins), right.reshape(count, bins), tuple(classes))


def confident_labels(logits: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the most likely class of every pixel and its probability.

    Args:
        logits: float (C, h, w), upsampled bilinearly to ``size`` before the softmax.
        size: (H, W).

    Returns:
        (label uint8 (H, W), confidence float64 (H, W) in [1 / C, 1]).

    Raises:
        ValueError: the logits are not finite.
    """
    if not torch.isfinite(logits).all():
        raise ValueError("the logits must be finite")
    # In double precision, so that a confidence equal to a threshold is not rounded below it.
    confidence, label = enlarge(logits[None].cpu().double(), size)[0].softmax(dim=0).max(dim=0)
    return label.to(torch.uint8).numpy(), confidence.numpy()


def _checked_mask(mask: np.ndarray, num_classes: int, number: int) -> np.ndarray:
    strange = sorted(set(np.unique(mask).tolist()) - {*range(num_classes), VOID})
    if mask.ndim != 2 or strange:
        raise ValueError(f"truth of image {number} must be (H, W) with ids 0 to "
                         f"{num_classes - 1} or {VOID}; got {mask.shape} with ids {strange[:5]}")
    return mask
