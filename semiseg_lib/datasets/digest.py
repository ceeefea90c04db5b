"""Digests of image sets: 64 hex digits over the bytes that training reads.

A digest says whether two image sets are the same, wherever their files lie. So that this costs
little, the SHA-256 of a file is remembered together with the file's stat, and a file is read again
only where its stat differs or leaves a doubt (:class:`FileHashes`).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from semiseg_lib.core.durable import Damaged, held, read_json, write_json
from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.datasets.dataset import Reader

VERSION = "semiseg image set 1"
"""Enters every digest; to be changed with whatever else enters it."""
TABLE_VERSION = 1
GRANULARITY_NS = 2_000_000_000
"""The coarsest time stamps that a file system keeps (those of FAT), in nanoseconds."""
TRIES = 3
THREADS = 8  # they wait for the disk more than they hash
PART = 64  # files that a thread takes at once: handing over each of them would take longer


Note = Callable[[Mapping[Path, str]], None]


class FileHashes:
    """SHA-256 of files, remembered between processes.

    A file's hash is believed where size, modification time, change time and inode are those of the
    record, and both times are more than :data:`GRANULARITY_NS` older than the record: a file that
    is written within the same tick as it was recorded would look unchanged. What keeps the size
    stays unseen in three cases: on Windows, which keeps no change time, if the modification time is
    restored; within one tick of a file server whose clock is late by more than that; and below the
    file system.

    Args:
        folder: the folder tree whose table is kept, below ``<work root>/digests``; any file may be
            asked for. None to remember files only as long as this object lives.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._table = "", None
        if folder is not None:
            self._folder = Path(folder).resolve().as_posix()
            key = hashlib.sha256(self._folder.encode("utf-8", "surrogateescape")).hexdigest()
            self._table = work_root() / "digests" / f"{key}.json"
        self._records = self._read()
        self._seen: set[str] = set()
        self._new: set[str] = set()

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file as 64 hex digits.

        Raises:
            FileNotFoundError: the file is missing.
            OSError: it changes while it is read, or it cannot be read.
        """
        return self._remembered(path) or self._hashed(path)

    def of_all(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the SHA-256 of each file; those to be read are read by several threads.

        Raises:
            FileNotFoundError: a file is missing.
            OSError: a file changes while it is read, or it cannot be read.
        """
        found = {path: self._remembered(path) for path in dict.fromkeys(paths)}
        unknown = [path for path, sha256 in found.items() if sha256 is None]
        parts = [unknown[start:start + PART] for start in range(0, len(unknown), PART)]
        with ThreadPoolExecutor(THREADS) as pool:
            for part in pool.map(lambda part: {path: self._hashed(path) for path in part}, parts):
                found |= part
        return found

    def save(self) -> None:
        """Write the table where a record is new; what another process has saved meanwhile stays.

        Files that are gone are dropped. A table that cannot be written, as in a read-only work
        folder, is no error: its files are hashed again next time.
        """
        if self._table is None or not self._new:
            return
        try:
            with held(self._table, say=False):  # it takes no time
                records = self._read() | {name: self._records[name] for name in self._new}
                records = {name: record for name, record in records.items()
                           if name in self._seen or os.access(name, os.F_OK)}
                table = {"version": TABLE_VERSION, "folder": self._folder, "files": records}
                write_json(self._table, table)
        except OSError:
            return
        self._new.clear()

    def _remembered(self, path: Path) -> str | None:
        """Return the hash on record, or None where there is none or a doubt."""
        status = status_of(path)
        name = str(path.absolute())
        self._seen.add(name)
        record = self._records.get(name)
        if record is None or record[:4] != status:
            return None
        settled = max(record.modified_ns, record.changed_ns) + GRANULARITY_NS < record.recorded_ns
        return record.sha256 if settled else None

    def _hashed(self, path: Path) -> str:
        """Return the hash of the file's bytes and put it on record."""
        for _ in range(TRIES):
            recorded_ns, before = time.time_ns(), status_of(path)
            sha256 = _sha256(path)
            if status_of(path) == before:
                name = str(path.absolute())
                self._records[name] = _Record(*before, recorded_ns, sha256)
                self._new.add(name)
                return sha256
        raise OSError(
            f"{shown(path)} changes while it is read. Wait until whatever writes it is done, and "
            "run it again."
        )

    def _read(self) -> dict[str, _Record]:
        """Return the table on disk; an empty one where it is missing, damaged or another's."""
        if self._table is None:
            return {}
        try:
            table = read_json(self._table)
            if (table["version"], table["folder"]) != (TABLE_VERSION, self._folder):
                return {}
            records = {name: _Record(*record) for name, record in table["files"].items()}
        except (OSError, Damaged, LookupError, TypeError, AttributeError):
            return {}
        return records if all(map(_is_sound, records.values())) else {}


class _Record(NamedTuple):
    """What is remembered of a file; the first four as :func:`status_of` returns them."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    recorded_ns: int  # the clock before the file was read
    sha256: str


def image_set_hashes(
    reader: Reader, indices: Sequence[int], hashes: FileHashes | None = None,
    note: Note = lambda _: None,
) -> dict[str, tuple[str, ...]]:
    """Return for every image name the hashes of what it is read from, in the reader's order.

    Bytes are hashed as they are. A file's hash is replaced by the one that ``reader.canonical``
    has for it: the hash of what was drawn, which is the same for every encoder.

    Raises:
        FileNotFoundError: a file is missing.
        OSError: a file changes while it is read, or it cannot be read.
        ValueError: two images of different content share a name.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, contents in _listed(reader, indices, hashes or _table_for(reader, indices), note):
        if found.setdefault(name, contents) != contents:
            raise ValueError(
                f"two images are called {name!r} and differ; rename one of them and its mask."
            )
    return found


def image_set_digest(
    reader: Reader,
    indices: Sequence[int],
    hashes: FileHashes | None = None,
    extra: Iterable[str] = (),
    note: Note = lambda _: None,
) -> str:
    """Return the digest of an image set, as 64 hex digits.

    It is the SHA-256 of one JSON text, whose brackets and quotes leave no doubt where a part ends:
    ``[VERSION, [class name, ...], [[image name, [hash, ...]], ...], [extra, ...]]``, without blanks
    and with non-ASCII characters escaped. Classes, images and ``extra`` count in their order, the
    hashes are those of :func:`image_set_hashes`. Folders do not enter: a copied dataset keeps its
    digest.

    Args:
        reader: what training reads; which masks and boxes it reads decides what is counted.
        indices: the images of the set, in the order of its list.
        hashes: what is remembered of the files; None keeps a table for the folder that holds the
            folder of the first one.
        extra: what else decides what training reads, such as the names of who was drawn.
        note: is told the SHA-256 of every file.

    Raises:
        FileNotFoundError: a file is missing.
        OSError: a file changes while it is read, or it cannot be read.
    """
    listed = _listed(reader, indices, hashes or _table_for(reader, indices), note)
    text = json.dumps([VERSION, list(reader.classes), listed, list(extra)], separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _table_for(reader: Reader, indices: Sequence[int]) -> FileHashes:
    """Return what is remembered of the dataset's files; without files there is no table."""
    first = next((reader.content(index) for index in indices), ())
    file = next((content for content in first if isinstance(content, Path)), None)
    return table_of(file and file.absolute().parent.parent)


def table_of(folder: Path | None) -> FileHashes:
    """Return what is remembered of the files of a folder, one table per folder in this process."""
    return _shared(folder and folder.absolute(), work_root())


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, remembered with those of its dataset.

    Raises:
        As :meth:`FileHashes.of`.
    """
    table = table_of(path.absolute().parent.parent)
    try:
        return table.of(path)
    finally:
        table.save()


@lru_cache(maxsize=8)
def _shared(folder: Path | None, work: Path) -> FileHashes:
    """One table per folder in this process: its records are checked at every use."""
    return FileHashes(folder)


def _listed(
    reader: Reader, indices: Sequence[int], hashes: FileHashes, note: Note
) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and hashes of every index; what was hashed is saved also when a file fails."""
    named: list[tuple[str, list[Path | str]]] = []
    for index in indices:
        contents = [hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else content
                    for content in reader.content(index)]
        named.append((reader.names[index], contents))
    files = (content for _, contents in named for content in contents if isinstance(content, Path))
    try:
        found = hashes.of_all(files)
    finally:
        hashes.save()
    note(found)
    known = {path: reader.canonical.get(sha256, sha256) for path, sha256 in found.items()}
    return [
        (name, tuple(known[one] if isinstance(one, Path) else one for one in contents))
        for name, contents in named
    ]


def status_of(path: Path) -> tuple[int, int, int, int]:
    """Return size, modification time, change time and inode.

    Raises:
        FileNotFoundError: the file is missing.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{shown(path)} is missing. Put it back, or take its image out of the list."
        ) from None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _sha256(path: Path) -> str:
    """Return the SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_sound(record: _Record) -> bool:
    """Return whether a record that was read holds what it should."""
    numbers = all(isinstance(number, int) for number in record[:5])
    return numbers and isinstance(record.sha256, str) and len(record.sha256) == 64
