"""Labels drawn from an image and its boxes by a rule that learns nothing.

``filled`` gives every pixel of a box its class. ``grabcut`` (Rother, Kolmogorov and Blake 2004, by
OpenCV) separates the colours inside a box from those outside, and gives its class to the pixels
that belong inside. These are the classic labels of box supervision, so they are the bar for a model
that reads boxes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from semiseg_lib.batches.boxes import covered_pixels
from semiseg_lib.batches.options import Rule
from semiseg_lib.datasets.sample import Sample

ROUNDS = 5
"""Iterations of GrabCut."""


def drawn_labels(sample: Sample, rule: Rule) -> np.ndarray:
    """Return the label of each pixel, uint8 (H, W): 0 outside of all boxes.

    Boxes are drawn from the largest to the smallest, so that a small object before a large one is
    seen.

    Args:
        sample: an image (3, H, W) with boxes.
        rule: how a box becomes a label.

    Raises:
        ImportError: GrabCut needs the package opencv-python-headless, which is not installed.
    """
    image = np.ascontiguousarray(np.moveaxis(np.asarray(sample.image), 0, -1))
    boxes = sample.boxes
    labels = np.zeros(image.shape[:2], dtype=np.uint8)
    if boxes is None:
        return labels
    sides = boxes.coordinates[:, 2:] - boxes.coordinates[:, :2]
    for number in np.argsort(-sides.prod(axis=1), kind="stable"):
        x0, y0, x1, y1 = boxes.coordinates[number]
        inside = np.zeros_like(labels, dtype=bool)
        inside[covered_pixels(y0, y1, len(labels)), covered_pixels(x0, x1, labels.shape[1])] = True
        if rule == "grabcut":
            inside = _cut(image, inside)
        labels[inside] = boxes.classes[number]
    return labels


def as_logits(labels: np.ndarray, num_classes: int, stride: int, sure: float) -> Tensor:
    """Return labels as logits at a network's resolution, (C, ceil(H / stride), ceil(W / stride)).

    A cell has the probability ``sure`` for the classes of its pixels, in their proportion; the
    rest is spread evenly over all classes.

    Args:
        labels: ids (H, W) below ``num_classes``.
        num_classes: C, background included.
        stride: the image's side over that of the logits.
        sure: probability in (0, 1).
    """
    one_hot = functional.one_hot(torch.from_numpy(labels).long(), num_classes)
    shares = functional.avg_pool2d(
        one_hot.movedim(-1, 0)[None].float(), stride, ceil_mode=True, count_include_pad=False
    )[0]
    return (sure * shares + (1 - sure) / num_classes).log()


def _cut(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the pixels of a box that GrabCut takes for the object, bool (H, W)."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "GrabCut labels need OpenCV: pip install opencv-python-headless"
        ) from error
    if inside.all():
        return inside  # no colours of a background to compare with
    cv2.setRNGSeed(0)
    marks = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    models = np.zeros((2, 1, 65))
    marks, *_ = cv2.grabCut(image, marks, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
