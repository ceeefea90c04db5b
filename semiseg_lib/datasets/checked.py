"""Images that are read only as they were when they were hashed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path

from semiseg_lib.datasets.dataset import Reader
from semiseg_lib.datasets.digest import FileHashes, status_of, table_of
from semiseg_lib.datasets.sample import Sample
from semiseg_lib.paths import shown


class Checked:
    """A reader that refuses files which changed since they were hashed.

    So nothing is learnt from other bytes than those that the digest of its images stands for, even
    if a file changes for a while and is put back. A file is hashed when :meth:`content` or
    :meth:`prepare` first meets it; what is read before that is not checked. Copies that read no
    masks or no boxes share what is known.

    Args:
        reader: whose images are read.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.names, self.classes = reader.names, reader.classes
        self.masks, self.boxes = reader.masks, reader.boxes
        self.canonical, self.decoding = reader.canonical, reader.decoding
        self._hashes: dict[Path, str] = {}
        self._statuses: dict[Path, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Return an image.

        Raises:
            ValueError: a file of it is not what was hashed; the message names it.
        """
        read = self._as_told()
        hashed = [path for path in _files(read, index) if path in self._hashes]
        before = [status_of(path) for path in hashed]
        for path, status in zip(hashed, before, strict=True):
            if self._statuses.get(path) != status:
                self._refuse_other_bytes(path)
                self._statuses[path] = status
        sample = read[index]
        for path, status in zip(hashed, before, strict=True):
            if status_of(path) != status:
                raise _changed(path)
        return sample

    def prepare(self, indices: Iterable[int]) -> None:
        """Hash the files of some images, several at a time."""
        read = self._as_told()
        unknown = [path for index in indices for path in _files(read, index)
                   if path not in self._hashes]
        if unknown:
            table = _table(unknown[0])
            try:
                found = table.of_all(unknown)
            finally:
                table.save()
            self._hashes |= {path: self._canonical(sha256) for path, sha256 in found.items()}

    def content(self, index: int) -> Iterator[bytes | str]:
        """Yield what the image is read from: the hashes of its files, and bytes as they are."""
        self.prepare([index])
        for content in self._as_told().content(index):
            yield self._hashes[content] if isinstance(content, Path) else content

    def _as_told(self) -> Reader:
        """Return the reader with what this copy of us reads."""
        read = copy(self.reader)
        read.masks, read.boxes = self.masks, self.boxes
        return read

    def _canonical(self, sha256: str) -> str:
        return self.canonical.get(sha256, sha256)

    def _refuse_other_bytes(self, path: Path) -> None:
        if self._canonical(_table(path).of(path)) != self._hashes[path]:
            raise _changed(path)


def _files(reader: Reader, index: int) -> list[Path]:
    return [content for content in reader.content(index) if isinstance(content, Path)]


def _table(path: Path) -> FileHashes:
    """Return what is remembered of the dataset's files; its folders hold those of a file."""
    return table_of(path.absolute().parents[1])


def _changed(path: Path) -> ValueError:
    return ValueError(
        f"{shown(path)} has changed since the dataset was opened. Run the same command again (in a "
        "notebook: the same cell); it takes what is there now."
    )
