"""Where files live, and how they are written so that none is ever half-written."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

CHECKOUT = Path(__file__).resolve().parents[1]


def work_root() -> Path:
    """The folder for everything the book makes: drawn images, logits, runs.

    ``SEMISEG_WORK`` where it is set, else ``data/`` of the checkout, else the user's cache folder.
    """
    if chosen := os.environ.get("SEMISEG_WORK"):
        return Path(chosen)
    if (CHECKOUT / "book.yml").is_file():
        return CHECKOUT / "data"
    return Path(platformdirs.user_cache_dir("semiseg", appauthor=False))


def dataset_root() -> Path | None:
    """The folder that holds real datasets (``VOCdevkit/``, ``camvid/`` ...), or None.

    Read from ``SEMISEG_DATA``; nothing is ever written there.
    """
    chosen = os.environ.get("SEMISEG_DATA")
    return Path(chosen) if chosen else None


def reading_root(root: Path | None = None) -> Path | None:
    """Where real datasets are looked for: ``root``, :func:`dataset_root`, or among the downloads.

    ``semiseg data`` downloads to ``<work root>/datasets``. None where there is none of these.
    """
    downloaded = work_root() / "datasets"
    return root or dataset_root() or (downloaded if downloaded.is_dir() else None)


def shown(path: Path) -> str:
    """A path as it is printed: relative to the checkout where it lies inside it."""
    path = Path(path)
    if path.is_absolute() and path.is_relative_to(CHECKOUT):
        return path.relative_to(CHECKOUT).as_posix()
    return path.as_posix()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; the file becomes ``path`` if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, path.suffix)
    try:
        yield temporary
        os.replace(temporary, path)
    except FileNotFoundError:
        raise  # something that was to be read
    except OSError as error:
        raise _could_not_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it becomes ``path`` if the block succeeds.

    If another process has finished the same folder meanwhile, theirs stays and ours is dropped.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        temporary.mkdir()
        yield temporary
        if not path.is_dir():
            os.replace(temporary, path)
    except FileNotFoundError:
        raise  # something that was to be read
    except OSError as error:
        raise _could_not_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold ``path`` for this process alone: another one that asks for it waits here meanwhile.

    For work that two processes may want done at the same time; look again, inside the block,
    whether the other one has done it. The operating system lets go of what a killed process held.
    """
    path = Path(path).absolute()
    digest = hashlib.sha256(path.as_posix().encode("utf-8")).hexdigest()[:10]
    folder = work_root() / "locks"
    lock = FileLock(folder / f"{path.name}-{digest}.lock", poll_interval=0.2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is at work on {shown(path)}: waiting for it.", file=sys.stderr)
        lock.acquire()
    except OSError as error:
        raise _could_not_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _could_not_write(path: Path, error: OSError) -> OSError:
    return OSError(
        error.errno,
        f"could not write {shown(path)} ({error.strerror or error}); nothing was changed. "
        "Free some disk space, or point SEMISEG_WORK at another disk, and run it again.",
    )


def _beside(path: Path, suffix: str = "") -> Path:
    """A name in the same folder, and so on the same disk, that nobody else uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{suffix}")
