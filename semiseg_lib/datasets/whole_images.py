"""Images that show one class each: digits and CIFAR-10, as segmentation of constant masks.

The mask of an image is its class everywhere. So what the library does with masks works for whole
images too, and pixel accuracy is the share of images that are right.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from semiseg_lib.datasets.cifar10 import CIFAR10_CLASSES, Images, find_cifar10, read_cifar10
from semiseg_lib.datasets.loaders import Pool
from semiseg_lib.paths import reading_root

HELD_OUT = {"digits": (300, 500), "cifar10": (5_000, 0)}
"""How many images are drawn once and for all for val and test; CIFAR-10 has its own test."""

SPLIT_SEED, LABELLED_SEED = 41, 42  # apart from each other and from what else a run's seed draws


@dataclass(frozen=True)
class WholeImageConfig:
    """Which images of one class each, and how many of them have labels.

    Attributes:
        dataset: ``digits`` (1,797 of 8x8, from scikit-learn) or ``cifar10`` (60,000 of 32x32).
        labelled: how many training images have labels, as many of each class as can be; drawn by
            the run's seed. 0 for all.
        at_most: use only so many unlabelled, val and test images; 0 for all.
    """

    dataset: Literal["digits", "cifar10"]
    labelled: int
    at_most: int = 0


@dataclass(frozen=True)
class _Lists:
    """Places of the images of each list, int64 (N,), ascending."""

    labelled: np.ndarray
    unlabelled: np.ndarray
    val: np.ndarray
    test: np.ndarray


class WholeImageData:
    """The pools of one configuration and seed, all in memory.

    Args:
        config: which images.
        seed: draws the labelled ones; val and test are the same for every seed.
        root: the folder that holds ``cifar10``; None asks ``SEMISEG_DATA``, and failing that looks
            where ``semiseg data`` downloads to.

    Raises:
        FileNotFoundError: the dataset is not there.
        ValueError: more labelled images wanted than there are, or fewer than classes.
    """

    def __init__(self, config: WholeImageConfig, seed: int, root: Path | None = None) -> None:
        self.config, self.seed = config, seed
        if config.dataset == "digits":
            self.classes = tuple(str(digit) for digit in range(10))
            self._images = _digits()
        else:
            self.classes = CIFAR10_CLASSES
            self._images = read_cifar10(find_cifar10(reading_root(root)))
        self._lists = self._split()

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The image names of each list."""
        names = self._images.names
        return {one.name: tuple(names[i] for i in getattr(self._lists, one.name))
                for one in fields(_Lists)}

    @cached_property
    def digest(self) -> str:
        """Ten hexadecimal digits that change with any name in any list, and with the copy read."""
        text = "\n\n".join("\n".join(names) for names in self.names.values())
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @cached_property
    def labelled(self) -> Pool:
        """The images with labels; every class occurs in them."""
        return self._pool(self._lists.labelled)

    @cached_property
    def unlabelled(self) -> Pool:
        """The other training images, without labels and without boxes."""
        return self._pool(self._lists.unlabelled, masks=False)

    @cached_property
    def unlabelled_truth(self) -> np.ndarray:
        """Hidden masks of the unlabelled images, uint8 (N, H, W): to measure labels, not to learn."""
        return self._pool(self._lists.unlabelled).masks.numpy()

    @property
    def everything(self) -> Pool:
        """Labelled and unlabelled images, all with their labels: the upper bound learns from these."""
        return self._pool(np.concatenate([self._lists.labelled, self._lists.unlabelled]))

    @cached_property
    def val(self) -> Pool:
        """Images to make choices on."""
        return self._pool(self._lists.val)

    @cached_property
    def test(self) -> Pool:
        """Images to report on."""
        return self._pool(self._lists.test)

    def _pool(self, places: np.ndarray, masks: bool = True) -> Pool:
        pictures = self._images
        images = torch.from_numpy(pictures.images[places])
        labels = torch.from_numpy(pictures.labels[places])
        size = images.shape[-2:]  # masks of one value need no memory of their own
        return Pool(
            tuple(pictures.names[i] for i in places), images,
            labels[:, None, None].expand(-1, *size) if masks else None,
        )

    def _split(self) -> _Lists:
        labels, most = self._images.labels, self.config.at_most or len(self._images.labels)
        fixed = np.random.default_rng(SPLIT_SEED)
        rest = np.flatnonzero(~self._images.is_test)
        test = np.flatnonzero(self._images.is_test)
        count_val, count_test = HELD_OUT[self.config.dataset]
        val = _drawn(rest, labels, count_val, fixed)
        rest = np.setdiff1d(rest, val)
        if count_test:
            test = _drawn(rest, labels, count_test, fixed)
            rest = np.setdiff1d(rest, test)
        val, test = (_drawn(one, labels, most, fixed) for one in (val, test))
        wanted = self.config.labelled or len(rest)
        if not len(self.classes) <= wanted <= len(rest):
            raise ValueError(
                f"{wanted} labelled images wanted; {self.config.dataset} can have "
                f"{len(self.classes)} (one a class) to {len(rest)}."
            )
        own = np.random.default_rng([self.seed, LABELLED_SEED])
        labelled = _drawn(rest, labels, wanted, own)
        unlabelled = np.setdiff1d(rest, labelled)
        return _Lists(labelled, _drawn(unlabelled, labels, most, own), val, test)


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


def _drawn(
    places: np.ndarray, labels: np.ndarray, count: int, generator: np.random.Generator
) -> np.ndarray:
    return places[draw_evenly(labels[places], count, generator)]


@lru_cache(maxsize=1)
def _digits() -> Images:
    """scikit-learn's 1,797 digits; their grey values 0 to 16 become 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Images(
        tuple(f"digit_{i:04d}" for i in range(len(grey))),
        np.repeat(grey[:, None], 3, axis=1),
        digits.target.astype(np.uint8),
        np.zeros(len(grey), bool),
    )
