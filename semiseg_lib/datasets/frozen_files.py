"""Files that may only be read with the content that was hashed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.digest import file_hash, file_status


class FrozenFiles:
    """The hashes of the files of a digest, to ensure that no other bytes are read.

    A file may change and be restored, or a link may point elsewhere for a while: comparing digests
    before and after would not detect it.
    """

    def __init__(self) -> None:
        self._hashes: dict[Path, str] = {}
        self._statuses: dict[Path, tuple[int, ...]] = {}

    def note(self, hashes: Mapping[Path, str]) -> None:
        """Record the SHA-256 of files; the first record of a file is kept."""
        self._hashes = {**hashes, **self._hashes}

    @contextmanager
    def reading(self, contents: Iterable[Any]) -> Iterator[None]:
        """Verify the recorded files among ``contents`` before and after the block reads them.

        Raises:
            ValueError: a file differs from its record, or changes during the block.
        """
        before = {path: file_status(path) for path in (contents if self._hashes else ())
                  if isinstance(path, Path) and path in self._hashes}
        for path, status in before.items():
            if self._statuses.get(path) != status:
                if file_hash(path) != self._hashes[path]:
                    raise _changed(path)
                self._statuses[path] = status
        yield
        for path, status in before.items():
            if file_status(path) != status:
                raise _changed(path)


_current: ContextVar[FrozenFiles | None] = ContextVar("files", default=None)


@contextmanager
def freeze_files() -> Iterator[None]:
    """Let all image sets created in the block share the first hash of every file.

    So a score and the digest stored with it are of the same bytes.
    """
    token = _current.set(_current.get() or FrozenFiles())
    try:
        yield
    finally:
        _current.reset(token)


def frozen_files() -> FrozenFiles:
    """Return the record for a new image set: the shared one within :func:`freeze_files`."""
    return _current.get() or FrozenFiles()


def _changed(path: Path) -> ValueError:
    return ValueError(
        f"{shown(path)} has changed since the dataset was opened. Run the same command again (in a "
        "notebook: the same cell) to read the current files."
    )
