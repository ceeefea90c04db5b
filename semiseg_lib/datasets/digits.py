"""Handwritten digits, 1,797 images of 8x8, included in scikit-learn."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from semiseg_lib.datasets.dataset import Dataset, Request
from semiseg_lib.datasets.files import ReaderSource
from semiseg_lib.datasets.single_class import Images, single_class_source

DIGITS_CLASSES = tuple(str(digit) for digit in range(10))
HELD_OUT = (300, 500)
"""Number of images sampled for val and test."""


def open_digits(request: Request, folder: Path | None, seed: int) -> ReaderSource:
    """Return the source of the digits; they need no folder.

    Raises:
        ValueError: ``keep`` names an unknown class.
    """
    return single_class_source(read_digits(), DIGITS_CLASSES, request.keep, *HELD_OUT, "digits")


@lru_cache(maxsize=1)
def read_digits() -> Images:
    """Return all images, with scikit-learn's grey values 0 to 16 scaled to 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Images(
        tuple(f"digit_{i:04d}" for i in range(len(grey))),
        np.repeat(grey[:, None], 3, axis=1),
        digits.target.astype(np.uint8),
        np.zeros(len(grey), bool),
    )


DATASET = Dataset(
    name="digits",
    title="digits",
    open=open_digits,
    needs_root=False,
    cached=True,
    licence=(
        "comes with scikit-learn; cite Optical Recognition of Handwritten Digits (UCI Machine "
        "Learning Repository, 1998)."
    ),
)
