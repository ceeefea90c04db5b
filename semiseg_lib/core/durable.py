"""Durable files: written atomically, safe against power loss, verified before use.

A file or folder is written under a temporary name, synced to the disk, and then renamed; the
folder that holds it is synced too. The temporary name holds the id and start time of its process,
so the next writer recognises and removes the leftovers of a dead process. Sealed files carry the
SHA-256 of their own content, so that any changed bit is detected.
"""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import platform
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.core.terminal import say

MAKE_AGAIN = "Delete it and run the same command again to recreate it."
FOREIGN_AGE = 7 * 24 * 3600  # seconds after which another host's temporary file is stale
THREADS = 8  # disk-bound
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
OBSTRUCTED = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST}
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # from file systems that do not support sync
TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})-([0-9]+)-([0-9]+)-[0-9a-f]{8}(\.[^.]*)?", re.DOTALL)
HASH = re.compile(rb"[0-9a-f]{64}")


class Damaged(RuntimeError):
    """Error for stored bytes that are not what was written; the message names file and fix.

    Attributes:
        problem: the message without the fix, for callers that apply the fix themselves.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem} {fix}".strip())
        self.problem = problem


def damaged(path: Path, problem: str, fix: str = MAKE_AGAIN) -> Damaged:
    """Return a Damaged error that names a file, its problem and the fix."""
    return Damaged(f"{shown(path)} is damaged: {problem}.", fix)


def sha256(content: bytes) -> str:
    """Return the SHA-256 of ``content`` as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; the file becomes ``path`` if the block succeeds.

    After the block the file survives a power loss.
    """
    path = Path(path).expanduser()
    with _replacing(path, path.suffix) as temporary:
        try:
            yield temporary
            _sync_file(temporary)
            move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it becomes ``path`` if the block succeeds.

    If another process finishes the same folder first, its folder is kept and this one discarded.
    After the block the folder and its files survive a power loss.
    """
    path = Path(path).expanduser()
    with _replacing(path) as temporary:
        try:
            temporary.mkdir()
            yield temporary
            if not path.is_dir():
                _sync_tree(temporary)
                move(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def move(old: Path, new: Path) -> None:
    """Rename a file or folder on the same disk; the new name survives a power loss."""
    _make_folder(new.parent)
    _rename(old, new)
    for folder in {old.parent, new.parent}:
        _sync_folder(folder)


def remove(path: Path) -> None:
    """Remove a file, if it exists. It may reappear after a power loss."""
    if path.exists():
        _unlink(path)


def _refuse_while_importing_main() -> None:
    """Raise RuntimeError in a worker that imports its parent's script, and so would run it again.

    There it would wait forever for a lock that its parent holds.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "a worker process has started to run this script from the top. Where processes are "
            "started by spawn (Windows, macOS), a script that uses workers must keep its work in:\n"
            "    if __name__ == \"__main__\":\n        ..."
        )


@contextmanager
def locked(path: Path, verbose: bool = True, beside: bool = False) -> Iterator[None]:
    """Acquire an inter-process lock on ``path``; wait while another process holds it.

    For work that two processes may start at the same time: check again inside the block whether
    the other one has done it. The operating system releases the lock of a killed process.

    Args:
        path: the file or folder to lock; it need not exist.
        verbose: whether to print a line while waiting.
        beside: True puts the lock file into the folder of ``path``, hidden, so that processes with
            different work folders share it; False into the work folder, so that the folder of
            ``path`` may be read-only.

    Raises:
        OSError: the lock file cannot be written.
        RuntimeError: this process is still importing the script that started it.
    """
    _refuse_while_importing_main()
    # Two names of one folder, such as a link to it, must lead to one lock.
    path, root = Path(path).resolve(), work_root().resolve()
    known = path.relative_to(root) if path.is_relative_to(root) else path
    digest = sha256(known.as_posix().encode("utf-8", "surrogateescape"))[:10]
    folder = path.parent if beside else root / "locks"
    name = f".{path.name}.lock" if beside else f"{path.name}-{digest}.lock"
    lock = FileLock(folder / name, poll_interval=0.2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        if verbose:
            say(f"Another process is at work on {shown(path)}; waiting.", sys.stderr)
        lock.acquire()
    except OSError as error:
        raise _could_not_write(folder / name, error) from error
    try:
        yield
    finally:
        lock.release()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a sealed JSON object: its first entry is the SHA-256 of all bytes after it.

    Raises:
        ValueError: ``content`` has an entry ``sha256``.
        TypeError: ``content`` is not JSON-serializable.
    """
    if "sha256" in content:
        raise ValueError(f"{shown(path)}: the entry sha256 is the seal's own; rename yours.")
    body = _lines(content).encode("ascii")
    with atomic_write(path) as temporary:
        temporary.write_bytes(_json_head(sha256(body)) + body)


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a file written by :func:`write_json`.

    Raises:
        Damaged: any bit differs from what was written.
        FileNotFoundError: the file is missing.
    """
    path = Path(path).expanduser()
    stored = read_bytes(path)
    start = len(_json_head(64 * "0"))
    body = stored[start:]
    if stored[:start] != _json_head(sha256(body)):
        raise damaged(path, "its content does not have the SHA-256 on its first line")
    try:
        content = json.loads(stored)
        del content["sha256"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise damaged(path, f"it is not a sealed JSON object ({error})") from error
    return content


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        Damaged: the path is a folder.
        FileNotFoundError: the file is missing, or a parent of its path is not a folder.
    """
    try:
        return path.read_bytes()
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except OSError as error:
        if path.is_dir():
            raise damaged(path, "it is a folder") from error
        raise


def seal(content: bytes) -> bytes:
    """Return ``content`` with its SHA-256 appended as the last line."""
    return content + _seal_line(sha256(content))


def unseal(stored: bytes, path: Path) -> bytes:
    """Return the content of sealed bytes.

    Args:
        stored: the result of :func:`seal`.
        path: where it was read from, for the message.

    Raises:
        Damaged: any bit differs from what :func:`seal` returned.
    """
    end = max(0, len(stored) - len(_seal_line(64 * "0")))
    content = stored[:end]
    if stored[end:] != _seal_line(sha256(content)):
        raise damaged(path, "its content does not have the SHA-256 on its last line")
    return content


def sweep(folder: Path) -> None:
    """Remove the :func:`leftovers` in a folder; skip what cannot be removed (read-only folder)."""
    for path in leftovers(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files and folders in ``folder`` whose writers are dead.

    A writer on another host cannot be checked: its temporaries count after a week.
    """
    try:
        found = [(Path(entry.path), TEMPORARY.fullmatch(entry.name))
                 for entry in os.scandir(folder)]
    except OSError:
        return []
    return [path for path, match in found
            if match is not None and _is_left_behind(path, *match.groups()[:3])]


@contextmanager
def _replacing(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary name for ``path``; re-raise disk errors with ``path`` in the message."""
    try:
        _make_folder(path.parent)
        _sweep_once(path.parent.absolute())
        yield _temporary_name(path, suffix)
    except FileNotFoundError:
        raise  # from a file that the caller reads, not writes
    except OSError as error:
        raise _could_not_write(path, error) from error


def _could_not_write(path: Path, error: OSError) -> OSError:
    return OSError(
        error.errno,
        f"could not write {shown(path)} ({error.strerror or error}); nothing was changed. "
        f"{_hint(path, error)}",
    )


def _hint(path: Path, error: OSError) -> str:
    """Return the fix for a file or folder that could not be written."""
    # filename2: the target of a rename, which may differ from ``path``.
    hindrance = _obstacle(Path(error.filename2 or path)) if error.errno in OBSTRUCTED else None
    if hindrance is not None:
        kind = "a folder" if hindrance.is_dir() else "not a folder"
        said = f"{shown(hindrance)} is {kind}: move it away, or point SEMISEG_WORK elsewhere"
    elif error.errno in NO_PERMISSION:
        said = "Make its folder writable, or choose another one (of the work folder: SEMISEG_WORK)"
    elif error.errno in NO_SPACE:
        said = "Free some disk space, or point SEMISEG_WORK at another disk"
    else:
        said = "Point SEMISEG_WORK at another disk"
    return f"{said}, and run it again."


def _obstacle(path: Path) -> Path | None:
    """Return the folder that blocks a file, or the file that blocks a folder; None for neither."""
    if path.is_dir():
        return path
    return next((one for one in (path, *path.parents)
                 if os.path.lexists(one) and not one.is_dir()), None)


def _make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and sync each parent."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


@cache
def _sweep_once(folder: Path) -> None:
    """Sweep a folder unless this process has swept it before."""
    sweep(folder)


def _temporary_name(path: Path, suffix: str = "") -> Path:
    """Return an unused name in the same folder, so on the same disk, that identifies its writer."""
    pid = os.getpid()
    writer = f"{_host()}-{pid}-{_start_time(pid) or 0}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{path.name[:40]}.{writer}{suffix}")


def _is_left_behind(path: Path, host: str, pid: str, started: str) -> bool:
    """Return whether the writer of a temporary is dead."""
    if host != _host():
        try:
            return time.time() - path.stat().st_mtime > FOREIGN_AGE
        except OSError:
            return False
    if not psutil.pid_exists(int(pid)):
        return True
    now = _start_time(int(pid))
    return now is not None and now != int(started) != 0


@cache
def _host() -> str:
    """Return eight hex digits that identify the machine and, in a container, its PID namespace."""
    try:
        processes = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 (also absent on Windows)
    except OSError:
        processes = 0
    return sha256(f"{platform.node()} {processes}".encode())[:8]


def _start_time(pid: int) -> int | None:
    """Return the start time of a process as a number that does not depend on the clock.

    None if it is unknown.
    """
    try:
        if sys.platform == "linux":  # psutil adds the boot time, which changes with the clock
            status = Path(f"/proc/{pid}/stat").read_bytes()
            return int(status.rpartition(b")")[2].split()[19])
        return int(psutil.Process(pid).create_time())
    except (OSError, psutil.Error, ValueError, IndexError):
        return None


def _lines(content: Mapping[str, Any]) -> str:
    """Return the JSON text of an object after its first entry, one entry per line.

    The entries of a nested object are written one per line, too.
    """
    entries = []
    for key, value in content.items():
        text = json.dumps(value)
        if isinstance(value, dict) and value:
            inner = ",\n".join(f"  {json.dumps({k: v})[1:-1]}" for k, v in value.items())
            text = f"{{\n{inner}\n }}"
        entries.append(f",\n {json.dumps(str(key))}: {text}")
    return "".join(entries) + "\n}\n"


def _json_head(digest: str) -> bytes:
    return f'{{\n "sha256": "{digest}"'.encode("ascii")


def _seal_line(digest: str) -> bytes:
    return f"\nsha256 {digest}\n".encode("ascii")


def _sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    _sync(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk; not needed on Windows."""
    if os.name != "nt":
        _sync(path, os.O_RDONLY)


def _sync_tree(folder: Path) -> None:
    """Wait until a folder and all in it are on the disk."""
    files, folders = [], [folder]
    for path in folder.rglob("*"):
        (folders if path.is_dir() else files).append(path)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_sync_file, files))
        list(pool.map(_sync_folder, folders))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _rename(old: Path, new: Path) -> None:
    os.replace(old, new)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
