"""The confusion matrix of a dataset and the scores computed from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.part import Part
from semiseg_lib.core.escaping import visible
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.options import WHOLE_IMAGE, Protocol
from semiseg_lib.evaluation.predict import predicted_parts
from semiseg_lib.methods.base import Method


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Count pixels by true class (row) and predicted class (column).

    Args:
        truth: class ids of any shape, 255 = void; void pixels are not counted.
        prediction: class ids of the same shape, 0 .. num_classes - 1.
        num_classes: C, background included.

    Returns:
        int64 (C, C); the sum is the number of labelled pixels.

    Raises:
        ValueError: the shapes differ or an id is out of range.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape.")
    labelled = truth != VOID
    truth = truth[labelled].astype(np.int64)
    prediction = prediction[labelled].astype(np.int64)
    for name, ids in (("truth", truth), ("prediction", prediction)):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            raise ValueError(
                f"the {name} holds ids {ids.min()} to {ids.max()}; with {num_classes} classes only "
                f"0 to {num_classes - 1} (and {VOID} for void in the truth) are allowed."
            )
    counts = np.bincount(num_classes * truth + prediction, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Evaluation:
    """Scores of a segmentation, computed from its confusion matrix.

    Attributes:
        confusion: int64 (C, C), pixels by true class (row) and predicted class (column).
        classes: C names.
    """

    confusion: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls, pairs: Iterable[tuple[np.ndarray, np.ndarray]], classes: Sequence[str]
    ) -> Evaluation:
        """Return the scores of label maps against true masks.

        Args:
            pairs: (truth, prediction) of each image, or of several of one size, as for
                :func:`confusion_matrix`.
            classes: C names, background included.

        Raises:
            ValueError: the shapes of a pair differ, or an id is out of range.
        """
        total = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for truth, prediction in pairs:
            total += confusion_matrix(truth, prediction, len(classes))
        return cls(total, tuple(classes))

    @property
    def iou(self) -> np.ndarray:
        """Return the intersection over union of each class, float64 (C,) in [0, 1].

        NaN for a class that is absent from the truth and from the prediction.
        """
        hits = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Return the mean of :attr:`iou` over occurring classes, in [0, 1]; NaN if none."""
        occurring = self.iou[~np.isnan(self.iou)]
        return float(occurring.mean()) if occurring.size else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Return the fraction of labelled pixels that are right, in [0, 1]."""
        return float(np.diag(self.confusion).sum() / max(self.confusion.sum(), 1))

    @property
    def precision(self) -> np.ndarray:
        """Return the precision of each class, float64 (C,) in [0, 1]; NaN if never predicted."""
        return share(np.diag(self.confusion), self.confusion.sum(0))

    @property
    def recall(self) -> np.ndarray:
        """Return the recall of each class, float64 (C,) in [0, 1]; NaN if absent from the truth."""
        return share(np.diag(self.confusion), self.confusion.sum(1))

    def rows(self) -> list[dict[str, float | str]]:
        """Return one row per class, in percent, for tables."""
        columns = {"IoU": self.iou, "precision": self.precision, "recall": self.recall}
        return [
            {"class": name, **{key: 100 * float(values[i]) for key, values in columns.items()}}
            for i, name in enumerate(self.classes)
        ]


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, float64 of any shape; NaN where the whole is 0."""
    whole = np.asarray(whole)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def evaluate_labels(
    truth: Iterable[np.ndarray], prediction: Iterable[np.ndarray], classes: tuple[str, ...]
) -> Evaluation:
    """Score label maps against true masks, image by image.

    Args:
        truth: masks (H, W) of class ids, 255 = void; each image may have its own size.
        prediction: label maps of the same sizes, in the same order, ids 0 .. C - 1.
        classes: C names, background included.

    Raises:
        ValueError: their numbers or sizes differ, or an id is out of range.
    """
    return Evaluation.of(zip(truth, prediction, strict=True), classes)


def evaluate(
    method: Method,
    images: ImageSet,
    classes: tuple[str, ...],
    protocol: Protocol = WHOLE_IMAGE,
) -> Evaluation:
    """Score the deployed model on images that have masks, at their own sizes.

    The model sees box maps only if ``method.uses_boxes``; a primary never does.

    Args:
        method: the method to score.
        images: with masks.
        classes: C names.
        protocol: sliding window, flips and scales.

    Raises:
        ValueError: an image has no mask; the message names it.
    """
    predicted = predicted_parts(method, images, protocol, "evaluating")
    return Evaluation.of(_with_truth(predicted), classes)


def _with_truth(
    predicted: Iterable[tuple[Part, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for part, labels in predicted:
        if part.masks is None:
            raise ValueError(f"{visible(part.names[0])} has no mask to score it on; leave it out.")
        yield part.masks.numpy(), labels
