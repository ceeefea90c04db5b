"""A folder of files with a manifest: what they are, what made them, and the SHA-256 of each.

The manifest is written last. A store is finished where its manifest says so, is whole itself and
matches the files; a store that is not can be written on. Bytes are checked before they are used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import semiseg_lib
from semiseg_lib.core.durable import (
    MAKE_AGAIN,
    Damaged,
    atomic_write,
    damaged,
    move,
    read_json,
    remove,
    sha256,
    sweep,
    write_json,
)
from semiseg_lib.core.paths import shown

MANIFEST = "manifest.json"
ASIDE = ".damaged"  # ends the name of a folder that was set aside
FORMAT = 1  # raise it whenever older manifests can no longer be read
LONGEST_VALUE = 60  # characters of a value in a message


class Stale(RuntimeError):
    """A store holds something else than what is asked for.

    Attributes:
        key: the first entry that differs, such as ``description.source``.
        stored, asked: its two values; None where there is none.
    """

    def __init__(self, message: str, key: str = "", stored: Any = None, asked: Any = None) -> None:
        super().__init__(message)
        self.key, self.stored, self.asked = key, stored, asked


class Store:
    """A folder of files with a manifest.

    Reading writes nothing, so a read-only folder serves many readers. Of several processes only
    one may write at a time: hold the folder (:func:`semiseg_lib.core.durable.held`).

    Args:
        folder: the members and ``manifest.json``; other files may lie beside them.
        kind: what kind of store this is, such as ``logits``.
        description: all that decides what the store holds, JSON.
        parents: {what was read: its digest}.
        fix: what to do where the store is damaged, a sentence; "" for a general one.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        description: Mapping[str, Any],
        parents: Mapping[str, str] | None = None,
        fix: str = "",
    ) -> None:
        self.folder = Path(folder)
        self.fix = fix
        self.kind = kind
        self.description: dict[str, Any] = json.loads(json.dumps(dict(description)))
        self.parents = dict(parents or {})
        self._unsaved: dict[str, Any] | None = None
        self._known: tuple[tuple[int, ...], dict[str, Any]] | None = None

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Return the store in a folder, as its own manifest describes it.

        Raises:
            FileNotFoundError: there is no manifest.
            Damaged: the manifest is not what was written.
        """
        path = Path(folder) / MANIFEST
        manifest = _read_manifest(path)
        if manifest is None:
            raise FileNotFoundError(
                f"{shown(path)} is missing: the folder is no store, or was not begun."
            )
        return cls(folder, manifest["kind"], manifest["description"], manifest["parents"])

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies."""
        return self.folder / MANIFEST

    @property
    def finished(self) -> bool:
        """Whether the manifest holds, says so, and every member is there with its size.

        The bytes of the members are not read: :meth:`read` and :meth:`verify` do.
        """
        try:
            manifest = self._stored(anew=True)
            return manifest is not None and manifest["finished"] and all(
                (self.folder / name).stat().st_size == entry["bytes"]
                for name, entry in manifest["members"].items()
            )
        except (Damaged, Stale, OSError):
            return False

    @property
    def members(self) -> Mapping[str, dict[str, Any]]:
        """What the manifest says of each member: ``sha256``, ``bytes`` and what else was put.

        Raises:
            Damaged: the manifest is not what was written.
            Stale: the store holds something else.
        """
        manifest = self._unsaved or self._stored()
        return MappingProxyType(manifest["members"] if manifest else {})

    @property
    def content(self) -> str:
        """The digest of the members that are no JSON: weights or labels, not what is said of them.

        Raises:
            Damaged, Stale: as for :attr:`members`.
        """
        hashes = {name: one["sha256"] for name, one in self.members.items()
                  if not name.endswith(".json")}
        return sha256(json.dumps(hashes, sort_keys=True).encode("ascii"))

    def put(self, name: str, content: bytes, save: bool = True, **extra: Any) -> None:
        """Write a member and then the manifest; the store counts as unfinished from then on.

        Args:
            name: the member's path in the folder; it may hold slashes.
            content: its bytes.
            save: False leaves the manifest for a later :meth:`save`. A member whose manifest was
                not saved is lost in a crash.
            extra: what else the manifest is to say of it, JSON.

        Raises:
            ValueError: the name leads out of the folder, or is the manifest's.
            Damaged: the manifest is not what was written; see :meth:`set_aside`.
            Stale: the store holds something else.
        """
        path = self._path(name)
        self._begin(name)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
        entry = {"sha256": sha256(content), "bytes": len(content), **extra}
        self._writable()["members"][name] = entry
        if save:
            self.save()

    def drop(self, name: str) -> None:
        """Remove a member from the manifest and then from the folder; a missing one is no error.

        Raises:
            Damaged, Stale: as for :meth:`put`.
        """
        path = self._path(name)
        if self._writable()["members"].pop(name, None) is not None:
            self._writable()["finished"] = False
            self.save()
        remove(path)

    def save(self) -> None:
        """Write the manifest.

        Raises:
            Damaged, Stale: as for :meth:`put`.
        """
        write_json(self.manifest_path, self._writable())
        self.reload()

    def finish(self) -> None:
        """Declare the store finished, and remove what writers that died have left behind.

        Raises:
            Damaged: a member is missing or has another size; or the manifest, as for :meth:`put`.
            Stale: the store holds something else.
        """
        manifest = self._writable()
        for name, entry in manifest["members"].items():
            self._check_size(name, entry)
        for folder in {self._path(name).parent for name in manifest["members"]} | {self.folder}:
            sweep(folder)
        manifest["finished"] = True
        self.save()

    def read(self, name: str) -> bytes:
        """Return the bytes of a member: its size is checked before they are read, then they are.

        Raises:
            Damaged: the member or the manifest is missing, or not what was written.
            Stale: the store holds something else.
        """
        path = self._path(name)
        entry = self.members.get(name)
        if entry is None:
            raise damaged(self.manifest_path, f"{name} is not among its members", self._fix)
        self._check_size(name, entry)
        try:
            content = path.read_bytes()
        except PermissionError:
            raise
        except OSError as error:
            raise damaged(path, str(error.strerror or error), self._fix) from error
        if sha256(content) != entry["sha256"]:
            raise damaged(path, "its bytes do not have the SHA-256 of the manifest", self._fix)
        return content

    def holds(self, name: str) -> bool:
        """Return whether a member is there and what was written.

        Raises:
            Damaged: the manifest is not what was written.
            Stale: the store holds something else.
        """
        if name not in self.members:
            return False
        try:
            self.read(name)
        except Damaged:
            return False
        return True

    def annotate(self, **notes: Any) -> None:
        """Add notes to the manifest: JSON that says more of the store and decides nothing.

        Raises:
            Damaged, Stale: as for :meth:`put`.
        """
        manifest = self._writable()
        manifest["notes"] = {**manifest.get("notes", {}), **notes}
        self.save()

    @property
    def notes(self) -> Mapping[str, Any]:
        """What :meth:`annotate` added; nothing where there is no manifest.

        Raises:
            Damaged, Stale: as for :attr:`members`.
        """
        manifest = self._stored()
        return MappingProxyType(manifest.get("notes", {}) if manifest else {})

    def verify(self) -> None:
        """Check every member.

        Raises:
            Damaged: the first one that is missing or not what was written.
            Stale: the store holds something else.
        """
        manifest = self._stored(anew=True)
        for name in manifest["members"] if manifest else ():
            self.read(name)

    def set_aside(self) -> Path:
        """Rename the folder, so that the store can be made anew; return the new path."""
        number, target = 1, self.folder.with_name(f"{self.folder.name}{ASIDE}")
        while target.exists():
            number += 1
            target = self.folder.with_name(f"{self.folder.name}{ASIDE}-{number}")
        move(self.folder, target)
        self.reload()
        return target

    def delete(self) -> None:
        """Delete the folder; see :func:`delete_store`."""
        delete_store(self.folder)
        self.reload()

    def reload(self) -> None:
        """Forget what was put and not saved, and read the manifest again when it is needed.

        For a process that begins to write after another one may have written.
        """
        self._unsaved = self._known = None

    @property
    def _fix(self) -> str:
        return self.fix or (
            f"Delete the folder {shown(self.folder)} and run the same command again: it is made "
            "anew."
        )

    def _path(self, name: str) -> Path:
        path = PurePosixPath(name)
        leads_out = not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name
        if leads_out or name == MANIFEST or path.as_posix() != name:
            raise ValueError(f"{name!r} cannot be the name of a file in {shown(self.folder)}.")
        return self.folder / path

    def _check_size(self, name: str, entry: Mapping[str, Any]) -> None:
        path = self._path(name)
        try:
            size = path.stat().st_size if path.is_file() else None
        except OSError:
            size = None
        if size is None:
            problem = "it is a folder" if path.is_dir() else "it is missing"
            raise damaged(path, problem, self._fix)
        if size != entry["bytes"]:
            raise damaged(path, f"it has {size} bytes, not {entry['bytes']}", self._fix)

    def _begin(self, name: str) -> None:
        """Take the manifest's word back before a member changes that it vouches for."""
        manifest = self._writable()
        if manifest["finished"]:
            manifest["finished"] = False
            manifest["members"].pop(name, None)
            self.save()

    def _writable(self) -> dict[str, Any]:
        """Return the manifest that is to be saved next."""
        if self._unsaved is None:
            self._unsaved = self._stored(anew=True) or {
                "format": FORMAT, "kind": self.kind, "description": self.description,
                "parents": self.parents, "finished": False, "members": {},
            }
            self._unsaved["code"] = semiseg_lib.__version__
        return self._unsaved

    def _stored(self, anew: bool = False) -> dict[str, Any] | None:
        """Return the manifest on disk, None where there is none.

        It was checked when it was read, so it is read again only where the file was replaced.
        """
        status = _status(self.manifest_path)
        if anew or self._known is None or self._known[0] != status:
            manifest = _read_manifest(self.manifest_path)
            if manifest is None:
                return None
            self._check_match(manifest)
            self._known = (status, manifest)
        return self._known[1]

    def _check_match(self, manifest: Mapping[str, Any]) -> None:
        """Raise Stale where a manifest is that of another store."""
        for part in ("kind", "description", "parents"):
            stored, asked = _deciding(manifest[part]), _deciding(getattr(self, part))
            found = _first_difference(stored, asked, part)
            if found is not None:
                key, stored, asked = found
                raise Stale(
                    f"{shown(self.folder)} holds something else than what is asked for: {key} is "
                    f"{_short(stored)}, not {_short(asked)}. {self._fix}", key, stored, asked,
                )


def delete_store(folder: Path) -> None:
    """Delete the folder of a store; the manifest first, so that the rest never looks finished.

    Of a link to a folder only the link is deleted.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    if (folder / MANIFEST).is_file():
        remove(folder / MANIFEST)
    shutil.rmtree(folder, ignore_errors=True)


def is_set_aside(folder: Path) -> bool:
    """Return whether a folder is one that :meth:`Store.set_aside` has renamed."""
    return ASIDE in folder.name


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """Return a manifest, None where there is none.

    Raises:
        Damaged: it is not what was written, or of a later version.
    """
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        return None
    if manifest.get("format") != FORMAT:
        raise damaged(
            path, f"its format is {manifest.get('format')}, but this version reads {FORMAT}",
            f"Update semiseg_lib, or: {MAKE_AGAIN}",
        )
    return manifest


def _status(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _deciding(part: Any) -> Any:
    """Return what two stores must share: beside an identity, ``value`` is just its account.

    The account of one identity differs by options that decide nothing, and by an option that was
    added since and holds its value ``before``.
    """
    if isinstance(part, dict) and "identity" in part:
        return {key: one for key, one in part.items() if key != "value"}
    return part


def _first_difference(stored: Any, asked: Any, key: str) -> tuple[str, Any, Any] | None:
    """Return the first entry that differs, as (key path, its two values); None where none does."""
    if not (isinstance(stored, dict) and isinstance(asked, dict)):
        return None if stored == asked else (key, stored, asked)
    for name in {**asked, **stored}:
        found = _first_difference(stored.get(name), asked.get(name), f"{key}.{name}")
        if found is not None:
            return found
        if (name in stored) != (name in asked):
            return f"{key}.{name}", stored.get(name), asked.get(name)
    return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE - 4]} ..."
