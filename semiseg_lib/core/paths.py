"""Locations of files: the work folder, the datasets, read-only shared folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from semiseg_lib.core import escaping

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that ``semiseg_lib`` lies in, the book's checkout or where a wheel is installed."""


def in_checkout() -> bool:
    """Return whether the library is imported from the book's checkout, not from a wheel."""
    return (CHECKOUT / "book.yml").is_file()


def work_root() -> Path:
    """Return the folder for everything the book generates: images, logits, runs.

    ``SEMISEG_WORK`` if set, else ``data/`` of the checkout, else the user's data folder, which no
    system empties.

    Raises:
        RuntimeError: the user has no home folder, or ``SEMISEG_WORK`` names that of a user who is
            not there.
    """
    if chosen := os.environ.get("SEMISEG_WORK"):
        return _expanded(chosen, "SEMISEG_WORK")
    if in_checkout():
        return CHECKOUT / "data"
    try:
        return platformdirs.user_data_path("semiseg", appauthor=False)
    except RuntimeError as error:
        raise RuntimeError(
            "There is no home folder to write to: set SEMISEG_WORK to a folder of yours."
        ) from error


def with_home(argument: str) -> str:
    """Return a command line's argument with ``~`` as the home folder, also in ``--root=~/data``.

    Raises:
        RuntimeError: the user has no home folder.
    """
    return re.sub(r"^(--[\w.-]+=)?(~)(?=/|\\|$)",
                  lambda found: (found[1] or "") + str(Path.home()), argument)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Use another work folder, and no shared folders, within the block."""
    names = ("SEMISEG_WORK", "SEMISEG_SHARED")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(SEMISEG_WORK=str(folder), SEMISEG_SHARED="")
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name)
        os.environ.update(before)


def shared_roots() -> tuple[Path, ...]:
    """Return further, read-only work folders, such as a lecturer's shared with a class.

    Read from ``SEMISEG_SHARED``, separated as in ``PATH``.
    """
    chosen = os.environ.get("SEMISEG_SHARED", "")
    return tuple(_expanded(one, "SEMISEG_SHARED") for one in chosen.split(os.pathsep) if one)


def dataset_root() -> Path | None:
    """Return the folder that holds real datasets (``VOCdevkit/``, ``camvid/`` ...), or None.

    Read from ``SEMISEG_DATA``; never written to.
    """
    chosen = os.environ.get("SEMISEG_DATA")
    return _expanded(chosen, "SEMISEG_DATA") if chosen else None


def reading_root(root: Path | None = None) -> Path | None:
    """Return the folder to read datasets from: ``root``, :func:`dataset_root`, or the downloads.

    ``semiseg data`` downloads to ``<work root>/datasets``. None if none of these exists.
    """
    if root is not None:
        return _expanded(root, "The folder of the datasets")
    downloaded = work_root() / "datasets"
    return dataset_root() or (downloaded if downloaded.is_dir() else None)


def _expanded(path: Path | str, name: str) -> Path:
    """Return a path with ``~`` as the home folder; an error says what ``name`` was given."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RuntimeError(
            f"{name} is {str(path)!r}, but there is no such home folder. Write the path in full."
        ) from error


def shown(path: Path | str) -> str:
    """Return a path for display, on one line: relative to the checkout if inside it."""
    path = Path(path)
    if path.is_absolute() and path.is_relative_to(CHECKOUT):
        path = path.relative_to(CHECKOUT)
    return escaping.visible(path.as_posix())
