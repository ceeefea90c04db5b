"""Images that show one class each, as segmentation: the mask of an image is its class everywhere.

So what the library does with masks works for whole images too, and pixel accuracy is the share of
images that are right. All images are kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from semiseg_lib.datasets.labels import packed_ids
from semiseg_lib.datasets.sample import Sample
from semiseg_lib.datasets.splits import draw_evenly

SPLIT_SEED = 41
"""Draws val and test once and for all, and the order of all lists."""


@dataclass(frozen=True)
class Images:
    """Images of one class each.

    Attributes:
        names: N names.
        images: uint8 (N, 3, H, W).
        labels: uint8 (N,) class ids.
        is_test: bool (N,), the dataset's own test images.
    """

    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    is_test: np.ndarray


class SingleClassDataset:
    """Some images of one class each as :class:`Sample`; no boxes.

    Args:
        names: N names.
        images: uint8 (N, 3, H, W).
        labels: uint8 (N,) class ids, 255 = void.
        classes: C names.
        masks: hand out the masks; on a copy, None hands out none either.
    """

    boxes = False
    canonical: Mapping[str, str] = MappingProxyType({})
    decoding = ""

    def __init__(
        self,
        names: Sequence[str],
        images: np.ndarray,
        labels: np.ndarray,
        classes: Sequence[str],
        masks: bool = True,
    ) -> None:
        self.names, self.classes, self.masks = list(names), tuple(classes), masks
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image = self._images[index]
        label = self._labels[index]
        mask = np.full(image.shape[1:], label, np.uint8) if self.masks else None
        return Sample(self.names[index], image, mask)

    def content(self, index: int) -> Iterator[bytes]:
        """Yield the bytes of the image, and of its label where masks are read."""
        yield self._images[index].tobytes()
        if self.masks:
            yield self._labels[index].tobytes()


class SingleClassSource:
    """Images of one class each, opened; see :class:`semiseg_lib.datasets.dataset.Source`.

    Val and test are the same for every seed and have as many images of each class as can be. All
    other images are candidates. The order of every list is drawn once and for all, so that its
    first images are a fair sample of it.

    Args:
        images: all images.
        classes: C names, in the order of the ids.
        keep: the classes to tell apart, empty for all; images of other classes are void.
        val: how many images are drawn for val.
        test: how many are drawn for test; 0 where the dataset has test images of its own.
        where: the dataset, for messages.
    """

    def __init__(
        self, images: Images, classes: Sequence[str], keep: Sequence[str], val: int, test: int,
        where: str,
    ) -> None:
        self.classes, new_id = packed_ids(classes, keep, where)
        self.boxed = np.zeros(len(self.classes), bool)
        self.folder = None
        self._images, self._labels = images, new_id[images.labels]
        generator = np.random.default_rng(SPLIT_SEED)
        rest, of_test = np.flatnonzero(~images.is_test), np.flatnonzero(images.is_test)
        of_val = _drawn(rest, images.labels, val, generator)
        rest = np.setdiff1d(rest, of_val)
        if test:
            of_test = _drawn(rest, images.labels, test, generator)
            rest = np.setdiff1d(rest, of_test)
        places = {"candidates": rest, "val": of_val, "test": of_test}
        self._places = {name: generator.permutation(one) for name, one in places.items()}

    def names(self, which: str) -> Sequence[str]:
        """Return the image names of a list; the unlabelled ones are the candidates."""
        return tuple(self._images.names[place] for place in self._places_of(which))

    def reader(self, which: str, masks: bool, boxes: bool) -> SingleClassDataset:
        """Return the reader of a list; there are no boxes to read."""
        places = self._places_of(which)
        return SingleClassDataset(
            self.names(which), self._images.images[places], self._labels[places], self.classes,
            masks,
        )

    def has_boxes(self, name: str) -> bool:
        """Return False: nobody drew boxes."""
        return False

    def _places_of(self, which: str) -> np.ndarray:
        return self._places["candidates" if which in ("unlabelled", "hidden") else which]


def _drawn(
    places: np.ndarray, labels: np.ndarray, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Return ``count`` of the places, as many of each class as can be, ascending."""
    return places[draw_evenly(labels[places], count, generator)]
