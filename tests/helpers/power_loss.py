"""A simulated power loss: what a disk may hold at any moment of a writer's work.

What was written and not synced may be there, cut off, or empty; names that were created, moved or
removed and whose folder was not synced may have survived or not, each for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from semiseg_lib.core import durable


class Recorder:
    """The steps of a writer in a folder, as the functions that touch the disk are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[tuple[Any, ...]] = []
        self._written: set[str] = set()

    def mark(self, value: Any) -> None:
        """Note that the writer has said that something is done."""
        self.steps.append(("mark", value))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _write(self, path: Path) -> None:
        """Note the bytes of a file that is synced or moved for the first time."""
        if path.is_file() and self._name(path) not in self._written:
            self._written.add(self._name(path))
            self.steps.append(("write", self._name(path), path.read_bytes()))

    @contextmanager
    def recording(self, monkeypatch, syncs: bool = True) -> Iterator[None]:
        """Record; with ``syncs`` off the writer forgets to sync its files."""
        rename, unlink = durable._rename, durable._unlink

        def sync_file(path: Path) -> None:
            self._write(path)
            if syncs:
                self.steps.append(("sync", self._name(path)))

        def sync_folder(path: Path) -> None:
            if path.is_relative_to(self.folder):
                self.steps.append(("sync folder", self._name(path)))

        def moved(old: Path, new: Path) -> None:
            self._write(old)
            self._written.discard(self._name(old))
            rename(old, new)
            self.steps.append(("move", self._name(old), self._name(new)))

        def removed(path: Path) -> None:
            unlink(path)
            self.steps.append(("remove", self._name(path)))

        with monkeypatch.context() as patch:
            patch.setattr(durable, "_sync_file", sync_file)
            patch.setattr(durable, "_sync_folder", sync_folder)
            patch.setattr(durable, "_rename", moved)
            patch.setattr(durable, "_unlink", removed)
            yield

    def states(self) -> Iterator[tuple[list[Any], dict[str, bytes]]]:
        """Yield, for every prefix of the steps, each (marks so far, {name: bytes} on the disk)."""
        seen = set()
        for end in range(len(self.steps) + 1):
            marks = [step[1] for step in self.steps[:end] if step[0] == "mark"]
            for files in _after(self.steps[:end]):
                key = (len(marks), tuple(sorted(files.items())))
                if key not in seen:
                    seen.add(key)
                    yield marks, files


def _after(steps: list[tuple[Any, ...]]) -> Iterator[dict[str, bytes]]:
    """Yield every content that a disk may have when the power is lost after these steps."""
    contents: list[bytes] = []
    synced: set[int] = set()
    now: dict[str, int] = {}  # what a running system sees: the number of a name's content
    kept: dict[str, int] = {}  # what is sure to be on the disk
    pending: list[tuple[str, str, int]] = []
    for kind, *values in steps:
        if kind == "write":
            name, content = values
            contents.append(content)
            now[name] = len(contents) - 1
            pending.append(("put", name, now[name]))
        elif kind == "sync":
            synced.add(now[values[0]])
        elif kind == "move":
            old, new = values
            if old not in now:  # a folder
                continue
            now[new] = now.pop(old)
            pending.append((f"move {old}", new, now[new]))
        elif kind == "remove":
            now.pop(values[0], None)
            pending.append(("remove", values[0], 0))
        elif kind == "sync folder":
            inside = [one for one in pending if _folder(one[1]) == values[0]]
            pending = [one for one in pending if one not in inside]
            _apply(kept, inside)
    for survives in product((False, True), repeat=len(pending)):
        names = dict(kept)
        _apply(names, [one for one, there in zip(pending, survives, strict=True) if there])
        unsure = sorted({number for number in names.values()} - synced)
        for cuts in product((1.0, 0.5, 0.0), repeat=len(unsure)):
            length = dict(zip(unsure, cuts, strict=True))
            yield {name: contents[n][:int(len(contents[n]) * length.get(n, 1.0))]
                   for name, n in names.items()}


def _apply(names: dict[str, int], changes: list[tuple[str, str, int]]) -> None:
    for kind, name, number in changes:
        if kind == "remove":
            names.pop(name, None)
        else:
            names.pop(kind.removeprefix("move "), None)
            names[name] = number


def _folder(name: str) -> str:
    return Path(name).parent.as_posix()


def put_on_disk(files: dict[str, bytes], folder: Path) -> Path:
    """Write a state into a new folder."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
