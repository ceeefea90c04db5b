"""An in-memory cache for datasets of small images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from semiseg_lib.datasets.dataset import Reader
from semiseg_lib.datasets.digest import image_set_hashes
from semiseg_lib.datasets.frozen_files import FrozenFiles
from semiseg_lib.datasets.sample import Boxes, Sample


class Cached:
    """A reader that reads each image once and keeps it in memory.

    Readers of the same bytes, such as those of different seeds, share the cache. Its key is the
    hashes of the content when the reader was created, and so is the digest of its images: after a
    change on disk a new reader reads the files again. Cached arrays are read-only.

    Args:
        reader: the reader to cache.
        options: further options that determine the samples; part of the cache key.
    """

    def __init__(self, reader: Reader, options: str = "") -> None:
        self.reader = reader
        self.names, self.classes = reader.names, reader.classes
        self.masks, self.boxes = reader.masks, reader.boxes
        self.canonical, self.decoding = reader.canonical, reader.decoding
        self._files = FrozenFiles()
        self._hashes = image_set_hashes(reader, range(len(reader)), note=self._files.note)
        content = json.dumps([
            list(self.names), self.classes, self.decoding, self._hashes, options
        ])
        self._kept = _kept(type(reader), content)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            self._kept[index] = self._read(index)
        sample = self._kept[index]
        if self.masks is not None and self.boxes:
            return sample
        mask = None if self.masks is None else sample.mask
        return Sample(sample.name, sample.image, mask, sample.boxes if self.boxes else None)

    def content(self, index: int) -> Iterator[Path | bytes | str]:
        """Yield the content of the image as the hashes from when the reader was created.

        Content that is only read without masks or boxes is yielded as it is.
        """
        hashes = self._hashes[self.names[index]]
        at_opening = dict(zip(self.reader.content(index), hashes, strict=True))
        read = copy(self.reader)
        read.masks, read.boxes = self.masks, self.boxes
        for content in read.content(index):
            yield at_opening.get(content, content)

    def _read(self, index: int) -> Sample:
        with self._files.reading(self.reader.content(index)):
            sample = self.reader[index]
        sample = replace(sample, image=np.ascontiguousarray(sample.image))
        boxes = sample.boxes or Boxes()
        for array in (sample.image, sample.mask, boxes.coordinates, boxes.classes):
            if array is not None:
                array.flags.writeable = False
        return sample


@lru_cache(maxsize=32)
def _kept(kind: type, content: str) -> dict[int, Sample]:
    return {}
