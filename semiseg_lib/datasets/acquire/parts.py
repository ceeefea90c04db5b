"""The declaration of a download, and the steps that downloads share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.lists import read_lines

from .download import Archive, fetch, unpack


@dataclass(frozen=True)
class Count:
    """Number of files or names found, and the number in the complete dataset."""

    what: str
    found: int
    expected: int

    @property
    def complete(self) -> bool:
        """Return whether nothing is missing."""
        return self.found >= self.expected


@dataclass(frozen=True)
class Download:
    """A command that fetches a dataset or a part of it.

    Attributes:
        text: its line in ``--help``.
        terms: terms of use, and what to cite.
        get: ``get(root, progress)`` downloads below ``root`` and returns the file counts.
    """

    text: str
    terms: str
    get: Callable[[Path, bool], list[Count]]


def get_archive(archive: Archive, inside: str, target: Path, root: Path, progress: bool) -> None:
    """Download an archive and unpack its folder ``inside`` as ``target``, unless it exists.

    Raises:
        RuntimeError: all mirrors failed.
        ValueError: the archive is refused or damaged.
    """
    target = Path(target).expanduser()
    if not target.is_dir():
        unpack(fetch(archive, root / "downloads", progress=progress), inside, target, progress)


def count_files(folder: Path, pattern: str, expected: int) -> Count:
    """Count the files of ``folder`` that match the pattern."""
    folder = Path(folder).expanduser()
    return Count(f"{shown(folder)}/{pattern}", sum(1 for _ in folder.glob(pattern)), expected)


def count_names(path: Path, expected: int) -> Count:
    """Count the names in a list; 0 if it is missing."""
    path = Path(path).expanduser()
    names = read_lines(path, "") if path.is_file() else []
    return Count(shown(path), sum(bool(name.strip()) for name in names), expected)
