"""Measuring: one confusion matrix over a whole dataset, and the scores read off it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.loaders import Pool
from semiseg_lib.inference import (
    WHOLE_IMAGE,
    Protocol,
    evaluating,
    logits_one_by_one,
    predict_one,
    predicted_parts,
)
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
    """The scores of a segmentation, read off its confusion matrix.

    Attributes:
        confusion: int64 (C, C), pixels by true class (row) and predicted class (column).
        classes: C names.
    """

    confusion: np.ndarray
    classes: tuple[str, ...]

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class, float64 (C,) in [0, 1].

        NaN for a class that is absent from the truth and from the prediction.
        """
        hits = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """mIoU in [0, 1]: the mean of :attr:`iou` over occurring classes, NaN if none."""
        occurring = self.iou[~np.isnan(self.iou)]
        return float(occurring.mean()) if occurring.size else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """The share of labelled pixels that are right, in [0, 1]."""
        return float(np.diag(self.confusion).sum() / max(self.confusion.sum(), 1))

    @property
    def precision(self) -> np.ndarray:
        """Of the pixels called c, the share that is c: float64 (C,), NaN where none is called c."""
        return share(np.diag(self.confusion), self.confusion.sum(0))

    @property
    def recall(self) -> np.ndarray:
        """Of the pixels that are c, the share called c: float64 (C,), NaN where there is none."""
        return share(np.diag(self.confusion), self.confusion.sum(1))

    def rows(self) -> list[dict[str, float | str]]:
        """One row a class, percent: for tables."""
        columns = {"IoU": self.iou, "precision": self.precision, "recall": self.recall}
        return [
            {"class": name, **{key: 100 * float(values[i]) for key, values in columns.items()}}
            for i, name in enumerate(self.classes)
        ]


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The part over the whole, float64 of any shape; NaN where there is no whole."""
    whole = np.asarray(whole)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def evaluate_labels(
    truth: Iterable[np.ndarray], prediction: Iterable[np.ndarray], classes: tuple[str, ...]
) -> Evaluation:
    """Score label maps against true masks, image by image."""
    total = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for one_truth, one_prediction in zip(truth, prediction, strict=True):
        total += confusion_matrix(one_truth, one_prediction, len(classes))
    return Evaluation(total, tuple(classes))


def evaluate(
    method: Method,
    pool,
    classes: tuple[str, ...],
    batch: int = 50,
    protocol: Protocol = WHOLE_IMAGE,
) -> Evaluation:
    """Score the deployed model on a pool that has masks.

    Box maps reach the model only if it says that it uses them; a primary never sees any.

    Args:
        method: what to score.
        pool: a :class:`Pool`, or a :class:`PhotoPool`, whose images are scored at their own
            sizes.
        classes: C names.
        batch: images in a forward pass, for a :class:`Pool` and the plain protocol; else 1.
        protocol: sliding window, flips and scales.

    Raises:
        ValueError: an image has no mask; the message names it.
    """
    if isinstance(pool, Pool) and protocol == WHOLE_IMAGE:
        return evaluate_labels(pool.masks.numpy(), predict(method, pool, batch), classes)
    total = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for part, label in predicted_parts(method, pool, protocol, "evaluating"):
        if part.masks is None:
            raise ValueError(f"{part.names[0]} has no mask to score it on; leave it out.")
        total += confusion_matrix(part.masks[0].numpy(), label, len(classes))
    return Evaluation(total, tuple(classes))


def predict(method: Method, pool: Pool, batch: int = 50) -> np.ndarray:
    """The most likely class of every pixel, uint8 (N, H, W).

    For images of different sizes see :func:`semiseg_lib.inference.predictions`.
    """
    logits = _batch_by_batch(method.forward, method, pool, batch)
    return torch.cat([one.argmax(dim=1).to(torch.uint8).cpu() for one in logits]).numpy()


def predict_logits(method: Method, pool, batch: int = 50) -> Tensor | Iterator[Tensor]:
    """Logits at head resolution, float32, on the CPU.

    Returns:
        (N, C, h, w) for a :class:`Pool`; for a :class:`PhotoPool` an iterator over its images,
        (C, ceil(H/s), ceil(W/s)) each, with s the network's stride.
    """
    if not isinstance(pool, Pool):
        return logits_one_by_one(method, pool)
    logits = _batch_by_batch(method.head_logits, method, pool, batch)
    return torch.cat([one.float().cpu() for one in logits])


def predict_probabilities(
    method: Method, pool, batch: int = 50, protocol: Protocol = WHOLE_IMAGE
) -> Iterator[Tensor]:
    """The probabilities of every class in every pixel, float32 (C, H, W) an image, on the CPU.

    Args:
        method: its deployed model; it must need no boxes.
        pool: a :class:`Pool` or a :class:`PhotoPool`.
        batch, protocol: as for :func:`evaluate`.
    """
    if isinstance(pool, Pool) and protocol == WHOLE_IMAGE:
        for logits in _batch_by_batch(method.forward, method, pool, batch):
            yield from logits.float().softmax(dim=1).cpu()
    else:
        for number in range(len(pool)):
            yield predict_one(method, pool.part([number]), protocol)[0].cpu()


def _batch_by_batch(
    answer: Callable[[Tensor, Tensor | None], Tensor], method: Method, pool: Pool, batch: int
) -> Iterator[Tensor]:
    """What a method answers to a pool, in evaluation mode and without gradients."""
    device = next(method.parameters()).device
    for start in range(0, len(pool), batch):
        part = pool.part(range(start, min(start + batch, len(pool)))).to(device)
        with evaluating(method):
            logits = answer(part.images, part.box_maps if method.uses_boxes else None)
        yield logits
