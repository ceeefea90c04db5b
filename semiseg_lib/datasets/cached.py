"""Small images, kept in memory once they are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from semiseg_lib.datasets.dataset import Reader
from semiseg_lib.datasets.digest import image_set_digest
from semiseg_lib.datasets.sample import Sample


class Cached:
    """A reader that reads each image once.

    Readers of the same bytes share what is kept: those of other seeds, for instance. After a change
    on disk a new reader reads afresh, because what is kept goes by the digest of its content.

    Args:
        reader: whose samples are kept.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.names, self.classes = reader.names, reader.classes
        self.masks, self.boxes = reader.masks, reader.boxes
        self.canonical = reader.canonical
        self._kept = _kept(image_set_digest(reader, range(len(reader))))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            read = self.reader[index]
            self._kept[index] = replace(read, image=np.ascontiguousarray(read.image))
        sample = self._kept[index]
        if self.masks is not None and self.boxes:
            return sample
        mask = None if self.masks is None else sample.mask
        return Sample(sample.name, sample.image, mask, sample.boxes if self.boxes else None)

    def content(self, index: int) -> Iterable[Path | bytes]:
        """Yield the files, or the bytes, that the image is read from."""
        return self.reader.content(index)


@lru_cache(maxsize=32)
def _kept(digest: str) -> dict[int, Sample]:
    return {}
