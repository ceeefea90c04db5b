"""Classification datasets as segmentation: the mask of an image is its class in every pixel.

So everything that works with masks also works here, and pixel accuracy is image accuracy. All
images are kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from semiseg_lib.datasets.files import ReaderSource
from semiseg_lib.datasets.labels import packed_ids
from semiseg_lib.datasets.sample import Sample
from semiseg_lib.datasets.splits import sample_evenly

SPLIT_SEED = 41
"""The fixed seed for sampling val and test and for the order of all lists."""


@dataclass(frozen=True)
class Images:
    """Images of one class each.

    Attributes:
        names: N names.
        images: uint8 (N, 3, H, W).
        labels: uint8 (N,) class ids.
        is_test: bool (N,), whether an image is one of the dataset's own test images.
    """

    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    is_test: np.ndarray


class SingleClassDataset:
    """Some images of one class each as :class:`Sample`; no boxes.

    Args:
        images: all images.
        places: (N,), which of them.
        labels: uint8, new class ids of all images, 255 = void.
        classes: C names.
        masks: include the masks; False or None for none.
    """

    boxes = False
    canonical: Mapping[str, str] = MappingProxyType({})
    decoding = ""

    def __init__(
        self, images: Images, places: np.ndarray, labels: np.ndarray, classes: Sequence[str],
        masks: bool = True,
    ) -> None:
        self.names = [images.names[place] for place in places]
        self.classes, self.masks = tuple(classes), masks
        self._images, self._places, self._labels = images.images, places, labels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, label = self._images[self._places[index]], self._labels[self._places[index]]
        mask = np.full(image.shape[1:], label, np.uint8) if self.masks else None
        return Sample(self.names[index], image, mask)

    def content(self, index: int) -> Iterator[bytes]:
        """Yield the bytes of the image, and of its label if masks are read."""
        yield self._images[self._places[index]].tobytes()
        if self.masks:
            yield self._labels[self._places[index]].tobytes()


def single_class_source(
    images: Images, classes: Sequence[str], keep: Sequence[str], val: int, test: int, where: str
) -> ReaderSource:
    """Return the source of images of one class each.

    Val and test are the same for every seed and class-balanced. All other images are candidates,
    and unlabelled. Every list has a fixed random order, so that its first images are a random
    sample of it.

    Args:
        images: all images.
        classes: C names, in the order of the ids.
        keep: the classes to use, empty for all; images of other classes are void.
        val: number of images sampled for val.
        test: number of images sampled for test; 0 if the dataset has its own test images.
        where: the dataset, for messages.
    """
    kept, new_id = packed_ids(classes, keep, where)
    generator = np.random.default_rng(SPLIT_SEED)
    rest, of_test = np.flatnonzero(~images.is_test), np.flatnonzero(images.is_test)
    of_val = _sampled(rest, images.labels, val, generator)
    rest = np.setdiff1d(rest, of_val)
    if test:
        of_test = _sampled(rest, images.labels, test, generator)
        rest = np.setdiff1d(rest, of_test)
    places = {name: generator.permutation(one)
              for name, one in (("candidates", rest), ("val", of_val), ("test", of_test))}
    places["unlabelled"] = places["candidates"]

    def reader(which: str, masks: bool, boxes: bool) -> SingleClassDataset:
        return SingleClassDataset(images, places[which], new_id[images.labels], kept, masks)

    return ReaderSource(None, classes, keep, (), reader)


def _sampled(
    places: np.ndarray, labels: np.ndarray, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Return a class-balanced sample of ``count`` of the places, ascending."""
    return places[sample_evenly(labels[places], count, generator)]
