"""Files that are read only as they were when they were hashed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.digest import hash_of, status_of


class AsHashed:
    """What the files of a digest were, so that other bytes are never read in their place.

    A file may change for a while and be put back, or a link may lead elsewhere meanwhile: its
    digest alone, taken before and after, would not tell.
    """

    def __init__(self) -> None:
        self._hashes: dict[Path, str] = {}
        self._statuses: dict[Path, tuple[int, ...]] = {}

    def note(self, hashes: Mapping[Path, str]) -> None:
        """Remember the SHA-256 of files; the first one of a file counts."""
        self._hashes = {**hashes, **self._hashes}

    @contextmanager
    def reading(self, contents: Iterable[Any]) -> Iterator[None]:
        """Read some of the files within the block; what is no file, or was not noted, is not held.

        Raises:
            ValueError: a file is not what was noted, or changes meanwhile; the message names it.
        """
        before = {path: status_of(path) for path in (contents if self._hashes else ())
                  if isinstance(path, Path) and path in self._hashes}
        for path, status in before.items():
            if self._statuses.get(path) != status:
                if hash_of(path) != self._hashes[path]:
                    raise _changed(path)
                self._statuses[path] = status
        yield
        for path, status in before.items():
            if status_of(path) != status:
                raise _changed(path)


_of_all: ContextVar[AsHashed | None] = ContextVar("files", default=None)


@contextmanager
def one_state_of_files() -> Iterator[None]:
    """Hold all image sets that are made within the block to the first digest of every file.

    So a score cannot be of other bytes than the digest that is stored beside it.
    """
    token = _of_all.set(_of_all.get() or AsHashed())
    try:
        yield
    finally:
        _of_all.reset(token)


def files_as_hashed() -> AsHashed:
    """Return what a new image set holds its files to; see :func:`one_state_of_files`."""
    return _of_all.get() or AsHashed()


def _changed(path: Path) -> ValueError:
    return ValueError(
        f"{shown(path)} has changed since the dataset was opened. Run the same command again (in a "
        "notebook: the same cell); it takes what is there now."
    )
