"""Splits: sampling the labelled set, and checks that lists are disjoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from semiseg_lib.core.escaping import visible
from semiseg_lib.datasets.labels import VOID


def choose_labelled(
    masks: Sequence[np.ndarray], count: int, num_classes: int, seed: int
) -> list[int]:
    """Sample ``count`` images as the labelled set, so that every class occurs.

    If no mask has more than one class, the sample is class-balanced (:func:`sample_evenly`), and
    masks with void only are excluded.

    Args:
        masks: (H, W) ids of every candidate.
        count: number of images to sample.
        num_classes: number of classes that must occur, background included.
        seed: determines the sample.

    Returns:
        Their indices, ascending.

    Raises:
        ValueError: ``count`` is < 1 or exceeds the number of images, none of 1000 samples covers
            the classes, or there are too few images of one class each.
    """
    if count < 1:
        raise ValueError(f"{count} labelled images wanted; at least one needs a mask.")
    if count > len(masks):
        raise ValueError(f"{count} labelled images wanted, but only {len(masks)} have a mask.")
    counts = [np.bincount(mask.ravel(), minlength=256)[:num_classes] for mask in masks]
    present = np.array(counts) > 0
    generator = np.random.default_rng([seed, 77])
    if (present.sum(axis=1) <= 1).all():
        shows = np.flatnonzero(present.any(axis=1))
        labels = present[shows].argmax(axis=1)
        return shows[_choose_in_turns(labels, count, num_classes, generator)].tolist()
    for _ in range(1000):
        chosen = np.sort(generator.choice(len(masks), size=count, replace=False))
        if present[chosen].any(axis=0).all():
            return chosen.tolist()
    rarest = int(present.sum(axis=0).argmin())
    raise ValueError(
        f"1000 draws of {count} images never covered all {num_classes} classes; class {rarest} "
        f"occurs in {int(present[:, rarest].sum())} of {len(masks)}. Label more images."
    )


def sample_evenly(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Sample ``count`` images, class-balanced.

    Classes take turns in random order; a class without remaining images is skipped.

    Args:
        labels: (N,) class of each image.
        count: number of images to sample; all if there are fewer.
        generator: source of randomness.

    Returns:
        Their indices, int64 (min(count, N),), ascending.
    """
    order = generator.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    rank = generator.permutation(256)  # order of the classes within a turn
    return np.sort(np.lexsort((rank[labels], turn))[:count])


def _choose_in_turns(
    labels: np.ndarray, count: int, num_classes: int, generator: np.random.Generator
) -> np.ndarray:
    """Sample images with one class each, labels (N,), class-balanced."""
    if count > len(labels):
        raise ValueError(
            f"{count} labelled images wanted, but only {len(labels)} show one of the classes; the "
            "others are void (data.keep)."
        )
    chosen = sample_evenly(labels, count, generator)
    if missing := sorted(set(range(num_classes)) - set(labels[chosen].tolist())):
        raise ValueError(
            f"{count} labelled images of one class each cannot cover all {num_classes} classes; "
            f"class {missing[0]} occurs in {int((labels == missing[0]).sum())} of {len(labels)}. "
            "Label more images."
        )
    return chosen


def check_disjoint(lists: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError if an image is in two of the named lists, which would inflate the score."""
    owner: dict[str, str] = {}
    for list_name, names in lists.items():
        for name in names:
            if owner.setdefault(name, list_name) != list_name:
                raise ValueError(
                    f"the image {visible(name)} is in both {owner[name]!r} and {list_name!r}. "
                    "Take it out of one list, or the score is measured on training images."
                )


def class_shares(masks: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """Return the fraction of labelled pixels of each class, float64 (C,), without void.

    Args:
        masks: class ids (H, W), 255 = void.
        num_classes: C, background included.
    """
    counts = sum(np.bincount(mask[mask != VOID].ravel(), minlength=num_classes) for mask in masks)
    return counts / counts.sum()
