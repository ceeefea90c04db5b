"""The reader of datasets whose images, masks and boxes are files, and the source of readers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from semiseg_lib.datasets.dataset import Reader
from semiseg_lib.datasets.labels import (
    check_same_size,
    kept_boxes,
    packed_ids,
    read_image,
    read_mask,
)
from semiseg_lib.datasets.sample import Boxes, Sample


class FileReader:
    """Images of a dataset as :class:`Sample`; a subclass finds and reads the files of a name.

    Args:
        names: the image names.
        file_classes: all classes, in the order of the ids in the files.
        keep: the classes to use, None for all. New ids follow this order, and every other class
            becomes void.
        masks: which masks to read; False or None for none.
        boxes: read the boxes too.
        where: the folder, for messages.
        boxed: the classes that have boxes.

    Raises:
        ValueError: ``keep`` names an unknown class or, with boxes, one that has boxes first.
    """

    canonical: Mapping[str, str] = MappingProxyType({})
    decoding = ""

    def __init__(
        self, names: Sequence[str], file_classes: Sequence[str], keep: Sequence[str] | None,
        masks: object, boxes: bool, where: Path, boxed: Collection[str] = (),
    ) -> None:
        self.names, self.file_classes = list(names), tuple(file_classes)
        self.classes, self._new_id = packed_ids(self.file_classes, keep, where)
        self.masks, self.boxes = masks, boxes
        if boxes and self.classes[0] in boxed:
            free = next(name for name in self.file_classes if name not in boxed)
            raise ValueError(
                f"keep starts with {self.classes[0]}, which has boxes, but channel 0 of the box "
                f"maps means 'outside every box'. Name a class without boxes first, such as {free}."
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image_path = self.image_path(name)
        image = read_image(image_path)
        mask_path = self.mask_path(name) if self.masks else None
        mask, boxes = None, None
        if mask_path is not None:
            mask = self._new_id.take(self.read_mask(mask_path))
            check_same_size(mask, image, mask_path, image_path)
        if self.boxes:
            boxes = self.read_boxes(name, image)
        if boxes is not None:
            boxes = kept_boxes(boxes, self._new_id)
        return Sample(name, image, mask, boxes)

    def content(self, index: int) -> Iterator[Path | bytes | str]:
        """Yield the content of ``self[index]``: the image, its mask, its boxes, as far as read."""
        name = self.names[index]
        yield self.image_path(name)
        mask_path = self.mask_path(name) if self.masks else None
        if mask_path is not None:
            yield from self.mask_content(mask_path)
        boxes = self.boxes_content(name) if self.boxes else None
        if boxes is not None:
            yield boxes

    def image_path(self, name: str) -> Path:
        """Return the file of an image."""
        raise NotImplementedError

    def mask_path(self, name: str) -> Path | None:
        """Return the file of the mask; None if the image has none."""
        raise NotImplementedError

    def read_mask(self, path: Path) -> np.ndarray:
        """Return a mask as ids of ``file_classes``, uint8 (H, W), 255 = void."""
        return read_mask(path, len(self.file_classes))

    def mask_content(self, path: Path) -> tuple[Path | bytes, ...]:
        """Return what determines a mask: its file."""
        return (path,)

    def boxes_content(self, name: str) -> Path | str | None:
        """Return what determines the boxes: their file, or a SHA-256; None without boxes."""
        return None

    def read_boxes(self, name: str, image: np.ndarray) -> Boxes | None:
        """Return the boxes on an image (3, H, W) as ids of ``file_classes``; None without boxes."""
        return None


class ReaderSource:
    """Source of a dataset whose readers know all; see :class:`~.dataset.Source`.

    Args:
        folder: its folder; None if it has none.
        file_classes: all classes, in the order of the ids in the files.
        keep: the classes to use; empty for all.
        boxed: the classes that have boxes, on every image.
        make: ``make(which, masks, boxes)`` returns the reader of a list.

    Raises:
        ValueError: ``keep`` names an unknown class.
    """

    def __init__(
        self, folder: Path | None, file_classes: Sequence[str], keep: Sequence[str],
        boxed: Collection[str], make: Callable[[str, bool, bool], Reader],
    ) -> None:
        self.folder, self._make = folder, make
        self.classes = packed_ids(file_classes, keep, folder)[0]
        self.boxed = np.array([name in boxed for name in self.classes])

    def names(self, which: str) -> Sequence[str]:
        """Return the image names of a list."""
        return tuple(self.reader(which, masks=False, boxes=False).names)

    def reader(self, which: str, masks: bool, boxes: bool) -> Reader:
        """Return the reader of a list; ``hidden`` has the images of ``unlabelled``."""
        return self._make("unlabelled" if which == "hidden" else which, masks, boxes)

    def has_boxes(self, name: str) -> bool:
        """Return whether the classes have boxes."""
        return bool(self.boxed.any())
