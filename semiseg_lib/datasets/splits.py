"""Who has a mask, who has boxes, who is held out: drawing the labelled set, and leak checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from semiseg_lib.datasets.labels import VOID


def choose_labelled(
    masks: Sequence[np.ndarray], count: int, num_classes: int, seed: int
) -> list[int]:
    """Draw ``count`` images to be the labelled set, so that every class occurs in one of them.

    Where no mask shows more than one class, the classes take turns (:func:`draw_evenly`), and
    masks of nothing but void are left out.

    Args:
        masks: (H, W) ids of every image that could be chosen.
        count: how many to choose.
        num_classes: classes that must occur, background included.
        seed: the same seed gives the same choice.

    Returns:
        Their indices, ascending.

    Raises:
        ValueError: more images wanted than there are, no draw in 1000 covers the classes, or
            images of one class each are too few.
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


def draw_evenly(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw ``count`` images, as many of each class as can be.

    The classes take turns, in an order that is drawn too; one that has none left is passed over.

    Args:
        labels: (N,) class of each image.
        count: how many to draw; all where there are fewer.
        generator: decides the draw.

    Returns:
        Their indices, int64 (count,), ascending.
    """
    order = generator.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    rank = generator.permutation(256)  # of the classes, within a turn
    return np.sort(np.lexsort((rank[labels], turn))[:count])


def _choose_in_turns(
    labels: np.ndarray, count: int, num_classes: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw images of one class each (N,), as many of each class as can be."""
    if count > len(labels):
        raise ValueError(
            f"{count} labelled images wanted, but only {len(labels)} show one of the classes; the "
            "others are void (data.keep)."
        )
    chosen = draw_evenly(labels, count, generator)
    if missing := sorted(set(range(num_classes)) - set(labels[chosen].tolist())):
        raise ValueError(
            f"{count} labelled images of one class each cannot cover all {num_classes} classes; "
            f"class {missing[0]} occurs in {int((labels == missing[0]).sum())} of {len(labels)}. "
            "Label more images."
        )
    return chosen


def check_disjoint(lists: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError if an image is in two of the named lists: the score would flatter."""
    owner: dict[str, str] = {}
    for list_name, names in lists.items():
        for name in names:
            if owner.setdefault(name, list_name) != list_name:
                raise ValueError(
                    f"the image {name} is in both {owner[name]!r} and {list_name!r}. "
                    "Take it out of one list, or the score is measured on what was learnt."
                )


def class_shares(masks: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """The share of labelled pixels of each class, float64 (C,); void is left out."""
    counts = sum(np.bincount(mask[mask != VOID].ravel(), minlength=num_classes) for mask in masks)
    return counts / counts.sum()
