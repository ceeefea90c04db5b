"""Validate the images, labels and names of widgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from semiseg_lib.core import escaping
from semiseg_lib.datasets.labels import VOID


def as_names(names: Iterable[object]) -> list[str]:
    """Return names as the widget shows them, each on one line and without invisible characters."""
    return [escaping.visible(name) for name in names]


def as_images(images: Any, at_least: int = 1) -> np.ndarray:
    """Return the images as an array uint8 (N, 3, H, W).

    Raises:
        ValueError: another type or shape, or fewer than ``at_least``.
    """
    images = np.asarray(images)
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[1] != 3 or len(images) < at_least:
        raise ValueError(
            f"images must be uint8 (N, 3, H, W), N >= {at_least}; got {images.dtype} {shape}"
        )
    return images


def as_labels(name: str, labels: Any, images: np.ndarray, num_classes: int) -> np.ndarray:
    """Return class ids (N, H, W) of the images (N, 3, H, W); 255 stands for no class.

    Args:
        name: their name in messages.

    Raises:
        ValueError: not integers, another shape, or an id that is not a class.
    """
    labels = np.asarray(labels)
    expected = (len(images), *images.shape[2:])
    if labels.shape != expected or labels.dtype.kind not in "iu":
        raise ValueError(f"{name} must be {expected}, integers; got {labels.dtype} "
                         f"{labels.shape}")
    strange = sorted(set(np.unique(labels).tolist()) - {*range(num_classes), VOID})
    if strange:
        raise ValueError(f"{name} holds id {strange[0]}, but there are {num_classes} classes")
    return labels
