"""What every widget asks of its pictures and labels, with messages that say what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from semiseg_lib.datasets.labels import VOID


def as_images(pictures: Any, at_least: int = 1) -> np.ndarray:
    """The pictures as an array uint8 (N, 3, H, W).

    Raises:
        ValueError: another type or shape, or fewer than ``at_least``.
    """
    pictures = np.asarray(pictures)
    shape = pictures.shape
    if pictures.dtype != np.uint8 or len(shape) != 4 or shape[1] != 3 or len(pictures) < at_least:
        raise ValueError(
            f"pictures must be uint8 (N, 3, H, W), N >= {at_least}; got {pictures.dtype} {shape}"
        )
    return pictures


def as_labels(name: str, labels: Any, pictures: np.ndarray, num_classes: int) -> np.ndarray:
    """Class ids (N, H, W) that belong to the pictures (N, 3, H, W); 255 stands for no class.

    Args:
        name: what the message calls them.

    Raises:
        ValueError: no whole numbers, another shape, or an id of no class.
    """
    labels = np.asarray(labels)
    expected = (len(pictures), *pictures.shape[2:])
    if labels.shape != expected or labels.dtype.kind not in "iu":
        raise ValueError(f"{name} must be {expected}, whole numbers; got {labels.dtype} "
                         f"{labels.shape}")
    strange = sorted(set(np.unique(labels).tolist()) - {*range(num_classes), VOID})
    if strange:
        raise ValueError(f"{name} holds id {strange[0]}, but there are {num_classes} classes")
    return labels
