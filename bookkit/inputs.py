"""What a chapter looked for outside the work folder, and whether it is as it was.

A line of :func:`semiseg_lib.core.looked_for.note` names it; its state is a text that changes with
every file behind it. Only the status of files is read: one whose status has not changed has not
changed either; see :func:`semiseg_lib.datasets.digest.file_status`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from semiseg_lib import datasets
from semiseg_lib.core.paths import reading_root
from semiseg_lib.datasets.digest import file_status

ABSENT, UNKNOWN = "absent", "unknown"


def states_of(lines: Iterable[str], since_ns: int) -> dict[str, str]:
    """Return the state of everything that a chapter looked for, by its line.

    Args:
        lines: what :func:`semiseg_lib.core.looked_for.note` wrote.
        since_ns: the clock when the chapter was started, in nanoseconds. The state of what has
            changed since is unknown, for the chapter may have read it before; 0 for no chapter.
    """
    found, lines = {}, sorted({*lines})
    for line in lines:
        state, changed_ns = _state(line)
        # A dataset that lies in another folder now than where the chapter found it.
        folder = state.rpartition(" ")[0] if line.startswith("dataset ") else ""
        is_elsewhere = folder and f"folder {folder}" not in map(_printable, lines)
        found[line] = UNKNOWN if 0 < since_ns <= changed_ns or is_elsewhere else state
    return found


def are_unchanged(states: Mapping[str, str]) -> bool:
    """Return whether everything has the state that is stored; what is unknown has not."""
    return all(state != UNKNOWN and _state(line)[0] == state for line, state in states.items())


def _state(line: str) -> tuple[str, int]:
    """Return the state behind a line, and when it changed last, in nanoseconds; 0 if unknown."""
    kind, _, name = line.partition(" ")
    if kind == "package":
        return ("there" if importlib.util.find_spec(name) else ABSENT), 0
    if kind == "dataset":
        return _state_of_dataset(*name.split(" ", 1))
    if kind == "folder":  # noted where a dataset was found: what is gone now was read
        return ("there" if Path(name).is_dir() else UNKNOWN), 0
    if kind == "hub":
        from semiseg_lib.models.encoders import cached_hub_file

        name = str(cached_hub_file(name) or "")
    path = Path(name)
    if path.is_file():
        return _state_of_files([path])
    return ABSENT, _changed(path.parent) if name and path.parent.is_dir() else 0


def _state_of_dataset(name: str, root: str = "") -> tuple[str, int]:
    """Return the state of a dataset, below ``root`` or where the environment says."""
    try:
        folder = datasets.find(name).folder(Path(root) if root else reading_root())
    except FileNotFoundError:
        return ABSENT, 0
    except ValueError:  # a chapter's own, which nobody knows here
        return UNKNOWN, 0
    walked = list(os.walk(folder, followlinks=True))
    state, changed_ns = _state_of_files(
        sorted(Path(where, name) for where, _, names in walked for name in names)
    )
    # A file that was removed, or a folder put in the place of another, changes a folder only.
    changed_ns = max(changed_ns, *(_changed(Path(where)) for where, _, _ in walked))
    return _printable(f"{folder.resolve()} {state}"), changed_ns


def _printable(text: str) -> str:
    """Return a text in which the bytes of a path that are not UTF-8 can be stored."""
    return text.encode("utf-8", "backslashreplace").decode()


def _changed(folder: Path) -> int:
    """Return when a folder, or what it holds by name, changed last, in nanoseconds."""
    status = folder.stat()
    return max(status.st_mtime_ns, status.st_ctime_ns)


def _state_of_files(paths: list[Path]) -> tuple[str, int]:
    """Return 64 hex digits over paths and status of files, and when one changed last."""
    digest, last = hashlib.sha256(), 0
    for path in paths:
        status = file_status(path) if path.exists() else ()
        digest.update(f"{path} {status}\n".encode("utf-8", "surrogateescape"))
        last = max(last, *status[1:3]) if status else last
    return digest.hexdigest(), last
