"""What a dataset says about its download, and the steps that downloads share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semiseg_lib.core.paths import shown

from .download import Archive, fetch, unpack


@dataclass(frozen=True)
class Count:
    """How many files or names there are of a kind, and how many the whole dataset has."""

    what: str
    found: int
    expected: int

    @property
    def whole(self) -> bool:
        """Return whether nothing is missing."""
        return self.found >= self.expected


@dataclass(frozen=True)
class Download:
    """A command that fetches a dataset or a part of it.

    Attributes:
        text: what it does, in a line for ``--help``.
        terms: under which terms, and what to cite.
        get: ``get(root, progress)`` puts it below the folder ``root`` and counts what is there.
        check: the dataset to audit afterwards; empty for none.
    """

    text: str
    terms: str
    get: Callable[[Path, bool], list[Count]]
    check: str = ""


def get_archive(archive: Archive, inside: str, target: Path, root: Path, progress: bool) -> None:
    """Download an archive and unpack its folder ``inside`` as ``target``, unless that is there.

    Raises:
        RuntimeError: no mirror has the archive.
        ValueError: the archive is refused or damaged.
    """
    if not target.is_dir():
        unpack(fetch(archive, root / "downloads", progress=progress), inside, target, progress)


def count_files(folder: Path, pattern: str, expected: int) -> Count:
    """Return how many files of ``folder`` match the pattern."""
    return Count(f"{shown(folder)}/{pattern}", sum(1 for _ in folder.glob(pattern)), expected)


def count_names(path: Path, expected: int) -> Count:
    """Return how many names a list has; none where it is missing."""
    names = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    return Count(shown(path), sum(bool(name.strip()) for name in names), expected)
