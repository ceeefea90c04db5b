"""Digests of image sets: 64 hex digits over the bytes that training reads.

Equal digests mean equal image sets, wherever their files are. To save time, the SHA-256 of a file
is stored with the file's stat, and a file is read again only if its stat differs or is too recent
to be trusted (:class:`FileHashes`).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from semiseg_lib.core.durable import Damaged, locked, read_json, write_json
from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.datasets.dataset import Content

VERSION = "semiseg image set 1"
"""Enters every digest; change it together with what enters a digest."""
TABLE_VERSION = 1
GRANULARITY_NS = 2_000_000_000
"""The coarsest time stamp resolution of a file system (FAT), in nanoseconds."""
TRIES = 3
THREADS = 8  # disk-bound
PART = 64  # files per task of a thread; one per task has more overhead


Note = Callable[[Mapping[Path, str]], None]


class FileHashes:
    """SHA-256 of files, cached between processes.

    A cached hash is valid if size, modification time, change time and inode equal the record, and
    both times are more than :data:`GRANULARITY_NS` older than the record: a file written within the
    same tick as it was recorded would look unchanged. A change that keeps the size is missed in
    four cases: on Windows, which has no change time, if the modification time is restored; within
    one tick of a file server whose clock is late by more than that; in a page of a memory map that
    was already written to, whose times a system need not update; and below the file system.

    Args:
        folder: the folder tree whose table is stored, below ``<work root>/digests``; any file may
            be requested. None to cache hashes in this object only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._table = "", None
        if folder is not None:
            self._folder = Path(folder).resolve().as_posix()
            key = hashlib.sha256(self._folder.encode("utf-8", "surrogateescape")).hexdigest()
            self._table = work_root() / "digests" / f"{key}.json"
        self._records = self._read()
        self._new: set[str] = set()

    def get(self, path: Path) -> str:
        """Return the SHA-256 of a file as 64 hex digits.

        Raises:
            FileNotFoundError: the file is missing.
            OSError: it changes while it is read, or it cannot be read.
        """
        return self._remembered(path) or self._hashed(path)

    def get_all(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the SHA-256 of each file, reading files in several threads.

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
        """Write the table if it has new records, merged with those saved by other processes.

        Records of deleted files are dropped. A table that cannot be written, as in a read-only work
        folder, is ignored: its files are hashed again next time.
        """
        if self._table is None or not self._new:
            return
        try:
            with locked(self._table, verbose=False):  # a short wait
                records = self._read() | {name: self._records[name] for name in self._new}
                records = {name: record for name, record in records.items()
                           if os.access(name, os.F_OK)}
                table = {"version": TABLE_VERSION, "folder": self._folder, "files": records}
                write_json(self._table, table)
        except OSError:
            return
        self._new.clear()

    def _remembered(self, path: Path) -> str | None:
        """Return the recorded hash, or None if there is none or it may be outdated."""
        status = file_status(path)
        record = self._records.get(str(path.absolute()))
        if record is None or record[:4] != status:
            return None
        settled = max(record.modified_ns, record.changed_ns) + GRANULARITY_NS < record.recorded_ns
        return record.sha256 if settled else None

    def _hashed(self, path: Path) -> str:
        """Compute the hash of the file's bytes and record it."""
        for _ in range(TRIES):
            recorded_ns, before = time.time_ns(), file_status(path)
            sha256 = _sha256(path)
            if file_status(path) == before:
                name = str(path.absolute())
                self._records[name] = _Record(*before, recorded_ns, sha256)
                self._new.add(name)
                return sha256
        raise OSError(
            f"{shown(path)} changes while it is read. Wait until the program that writes it is "
            "done, and run it again."
        )

    def _read(self) -> dict[str, _Record]:
        """Return the table on disk; empty if missing, damaged or of another folder."""
        if self._table is None:
            return {}
        try:
            table = read_json(self._table)
            if (table["version"], table["folder"]) != (TABLE_VERSION, self._folder):
                return {}
            return _RECORDS.validate_python(table["files"])
        except (OSError, Damaged, LookupError, ValidationError):
            return {}


class _Record(NamedTuple):
    """The record of a file; the first four fields are those of :func:`file_status`."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    recorded_ns: int  # the clock before the file was read
    sha256: Annotated[str, Field(min_length=64, max_length=64)]


_RECORDS = TypeAdapter(dict[str, _Record])


def image_set_hashes(
    reader: Content, indices: Sequence[int], hashes: FileHashes | None = None,
    note: Note = lambda _: None,
) -> dict[str, tuple[str, ...]]:
    """Return {image name: hashes of its content}, in the reader's order.

    Bytes are hashed directly. A file's hash is replaced by its entry in ``reader.canonical``: the
    hash of the generated image, which does not depend on the encoder.

    Raises:
        FileNotFoundError: a file is missing.
        OSError: a file changes while it is read, or it cannot be read.
        ValueError: two images with different content share a name.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, contents in _listed(reader, indices, hashes or _table_for(reader, indices), note):
        if found.setdefault(name, contents) != contents:
            raise ValueError(
                f"two images are called {name!r} and differ; rename one of them and its mask."
            )
    return found


def image_set_digest(
    reader: Content,
    indices: Sequence[int],
    hashes: FileHashes | None = None,
    extra: Iterable[str] = (),
    note: Note = lambda _: None,
) -> str:
    """Return the digest of an image set, as 64 hex digits.

    It is the SHA-256 of one JSON text, so that the boundaries of its parts are unambiguous:
    ``[VERSION, [class name, ...], [[image name, [hash, ...]], ...], [extra, ...]]``, without blanks
    and with non-ASCII characters escaped. The order of classes, images and ``extra`` matters; the
    hashes are those of :func:`image_set_hashes`. Folders do not enter: a copy has the same digest.

    Args:
        reader: the reader; the masks and boxes that it reads are included.
        indices: the images of the set, in the order of its list.
        hashes: cached hashes; None for the table of the parent of the folder of the first file.
        extra: further strings that determine what training reads, such as sampled names.
        note: called with {file: SHA-256}.

    Raises:
        FileNotFoundError: a file is missing.
        OSError: a file changes while it is read, or it cannot be read.
    """
    listed = _listed(reader, indices, hashes or _table_for(reader, indices), note)
    text = json.dumps([VERSION, list(reader.classes), listed, list(extra)], separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _table_for(reader: Content, indices: Sequence[int]) -> FileHashes:
    """Return the cached hashes of the dataset's files; without files there is no table."""
    first = next((reader.content(index) for index in indices), ())
    file = next((content for content in first if isinstance(content, Path)), None)
    return shared_hashes(file and file.absolute().parent.parent)


def shared_hashes(folder: Path | None) -> FileHashes:
    """Return the cached hashes of the files of a folder, one table per folder and process."""
    return _shared(folder and folder.absolute(), work_root())


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, cached with those of its dataset.

    Raises:
        FileNotFoundError, OSError: as for :meth:`FileHashes.get`.
    """
    table = shared_hashes(path.absolute().parent.parent)
    try:
        return table.get(path)
    finally:
        table.save()


@lru_cache(maxsize=8)
def _shared(folder: Path | None, work: Path) -> FileHashes:
    """Return the one table of a folder in this process; records are validated on every use."""
    return FileHashes(folder)


def _listed(
    reader: Content, indices: Sequence[int], hashes: FileHashes, note: Note
) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and hashes of every index; new hashes are saved even if a file fails."""
    named: list[tuple[str, list[Path | str]]] = []
    for index in indices:
        contents = [hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else content
                    for content in reader.content(index)]
        named.append((reader.names[index], contents))
    files = (content for _, contents in named for content in contents if isinstance(content, Path))
    try:
        found = hashes.get_all(files)
    finally:
        hashes.save()
    note(found)
    known = {path: reader.canonical.get(sha256, sha256) for path, sha256 in found.items()}
    return [
        (name, tuple(known[one] if isinstance(one, Path) else one for one in contents))
        for name, contents in named
    ]


def file_status(path: Path) -> tuple[int, int, int, int]:
    """Return size, modification time, change time and inode.

    Raises:
        FileNotFoundError: the file is missing.
    """
    with _unreadable(path):
        status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _sha256(path: Path) -> str:
    """Return the SHA-256 of the file's bytes."""
    with _unreadable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Raise a named error, with what to do, where a file cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{shown(path)} is missing. Put it back, or take its image out of the list."
        ) from None
    except OSError as error:
        raise OSError(
            f"{shown(path)} cannot be read as a file ({error.strerror or error}). Put a readable "
            "file in its place, or take its image out of the list."
        ) from error
