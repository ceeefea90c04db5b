"""Validate the images and labels of widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.datasets.labels import VOID


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


def as_logits(name: str, logits: Any, images: np.ndarray, num_classes: int) -> Tensor:
    """Return logits float32 (N, C, h, w) of the images (N, 3, H, W).

    Args:
        name: their name in messages.

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    logits = torch.as_tensor(logits).float()
    if logits.ndim != 4 or logits.shape[:2] != (len(images), num_classes):
        raise ValueError(
            f"{name} must be ({len(images)}, {num_classes}, h, w), got {tuple(logits.shape)}"
        )
    if not torch.isfinite(logits).all():
        raise ValueError(f"{name} must be finite")
    return logits


def as_offered(name: str, value: float, offered: Sequence[float]) -> float:
    """Return a slider's value; raise ValueError if the slider does not offer it."""
    if value not in offered:
        nearest = min(offered, key=lambda one: abs(one - value))
        raise ValueError(
            f"{name} must be one that the slider offers, {offered[0]:g} .. {offered[-1]:g}; got "
            f"{value}, the nearest is {nearest:g}"
        )
    return float(value)
